"""`log`: one record on the standard logger, silent where the level is off."""

from __future__ import annotations

import logging

import pytest

from imagequeue.events import fail, log, warn


def test_a_call_is_one_record_with_its_fields_in_order(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "imagequeue"):
        log("claimed", job="3f2a", batch=8)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.msg) == ("imagequeue", "INFO", "claimed")
    assert list(record.fields.items()) == [("job", "3f2a"), ("batch", 8)]  # type: ignore[attr-defined]


def test_the_levels_are_those_of_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "imagequeue"):
        log("a", level=logging.DEBUG)
        log("b")
        warn("c")
        fail("d")
    assert [record.levelname for record in caplog.records] == ["DEBUG", "INFO", "WARNING", "ERROR"]


def test_where_the_level_is_off_nothing_is_made(caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError

    with caplog.at_level(logging.WARNING, "imagequeue"):
        log("claimed", job=Unprintable())
    assert not caplog.records
