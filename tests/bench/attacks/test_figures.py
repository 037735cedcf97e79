"""Percentiles, of which what was never answered is the largest."""

from __future__ import annotations

import math

import pytest

from bench.attacks.figures import Sample, between, milliseconds, percentile, statuses

GOOD = [Sample(at=number / 20, seconds=0.001 * (number + 1), status="200") for number in range(100)]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.99) == 0.0


def test_one_bad_answer_of_a_hundred_is_not_in_the_p99_and_two_are() -> None:
    refused = Sample(at=9.0, seconds=0.001, status="503")
    assert milliseconds([*GOOD[1:], refused], 0.99) == pytest.approx(100)
    assert milliseconds([*GOOD[2:], refused, refused], 0.99) == math.inf


def test_a_probe_that_was_never_answered_is_the_slowest() -> None:
    assert milliseconds([*GOOD, Sample(at=1.0, seconds=math.inf, status="unanswered")], 1.0) == math.inf


def test_a_request_belongs_to_the_time_in_which_it_was_sent() -> None:
    slow = Sample(at=0.9, seconds=30.0, status="200")
    assert slow in between([*GOOD, slow], 0.0, 1.0)
    assert slow not in between([*GOOD, slow], 1.0, 2.0)
    assert len(between(GOOD, 0.0, 1.0)) == 20


def test_every_status_is_counted() -> None:
    assert statuses([*GOOD, Sample(0.0, 1.0, "503")]) == {"200": 100, "503": 1}
