"""Which lines a person wants, and how they look on a terminal."""

from __future__ import annotations

import argparse
import re

import pytest

from imagequeue.logview import is_wanted, painted, seconds_of

LINE = {"server": "host-1", "level": "WARNING", "job": "3f2a99", "request": "77aa", "trace": "cc00"}


@pytest.mark.parametrize(
    ("wish", "is_shown"),
    [
        ({}, True),
        ({"job": "3f2a99"}, True),
        ({"job": "3f2a"}, True),
        ({"job": "77aa"}, True),
        ({"job": "cc"}, True),
        ({"job": "f2a9"}, False),
        ({"server": "host-1"}, True),
        ({"server": "host"}, False),
        ({"level": "warning"}, True),
        ({"level": "info"}, True),
        ({"level": "error"}, False),
        ({"job": "3f2a", "server": "host-2"}, False),
    ],
)
def test_a_line_is_shown_if_all_that_was_wished_for_is_true_of_it(wish: dict[str, str], is_shown: bool) -> None:
    assert is_wanted(LINE, **wish) is is_shown


def test_a_level_that_nobody_knows_is_rather_shown() -> None:
    assert is_wanted({"level": "CRITICAL"}, level="error")
    assert is_wanted({}, level="error")


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("30s", 30), ("1.5h", 5400), ("2d", 172_800)])
def test_a_time_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5w", "1e3s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds_of(text)


@pytest.mark.parametrize(
    "line",
    [
        '2026-01-31T12:00:00.123Z host-1 run.py INFO claimed job=3f2a batch=8 reason="a b=c"',
        "2026-01-31T12:00:00.123Z host-1 run.py ERROR broke",
    ],
)
def test_colours_change_no_character_of_a_line(line: str) -> None:
    assert re.sub(r"\x1b\[\d+m", "", painted(line)) == line
    assert painted(line).count("\x1b[0m") >= 2


def test_an_error_is_red_and_a_warning_yellow() -> None:
    assert "\x1b[31mERROR\x1b[0m" in painted("t s x ERROR a")
    assert "\x1b[33mWARNING\x1b[0m" in painted("t s x WARNING a")
