"""Processors and open files."""

from __future__ import annotations

import pytest

from imagequeue.doctor.machine import check_open_files, check_processors

UNLIMITED = -1


def test_processors_are_those_that_the_container_may_use() -> None:
    assert check_processors(8, 8, model_threads=8).found == "8 of 8"
    assert "quota" in check_processors(2, 64, model_threads=2).found


def test_more_threads_than_processors_are_a_warning() -> None:
    found = check_processors(2, 64, model_threads=16)
    assert found.status == "warning"
    assert found.fix == "unset MODEL_THREADS"


@pytest.mark.parametrize(
    ("hard", "status"), [(UNLIMITED, "ok"), (1_048_576, "ok"), (700, "ok"), (512, "warning"), (128, "failed")]
)
def test_the_hard_limit_on_open_files_counts(hard: int, status: str) -> None:
    found = check_open_files((64, hard), unlimited=UNLIMITED, wanted=648)
    assert found.status == status
    assert bool(found.fix) == (status != "ok")
    assert "ulimit -Hn" in found.fix or status == "ok"
