"""The numbers of a run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from imagequeue.stress.outcome import ANSWERED, Outcome, percentile
from imagequeue.stress.summary import GROWTH, Summary, histogram, marks, slices, summarize


def outcomes(*seconds: float) -> list[Outcome]:
    return [Outcome(ANSWERED, n * 0.1, s) for n, s in enumerate(seconds)]


def summary_of(found: list[Outcome], sent: int | None = None, seconds: float = 2.0) -> Summary:
    return summarize(
        found, sent=len(found) if sent is None else sent, seconds=seconds, started="2026-01-31T12:00:00Z", options={}
    )


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.95, 95), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_of_one_value_every_percentile_is_that_value() -> None:
    assert set(marks([7.0]).values()) == {7.0}


def test_requests_that_never_ended_are_missing_not_forgotten() -> None:
    summary = summary_of([*outcomes(0.1, 0.2), Outcome("queue_full", 0, 0.01)], sent=5)
    assert summary.kinds == {"answered": 2, "missing": 2, "queue_full": 1}
    assert (summary.answered, summary.throughput) == (2, 1.0)


def test_refusals_do_not_make_the_latency_look_better() -> None:
    quick_refusals = [Outcome("queue_full", 0, 0.001)] * 100
    assert summary_of([*outcomes(0.1, 0.2), *quick_refusals]).latency["p50"] == 100.0


def test_every_answer_lies_in_one_bucket_whose_ends_enclose_it() -> None:
    values = [0.01, 0.1, 0.5, 7.7, 7.8, 123.0, 4000.0]
    buckets = histogram(values)
    assert sum(count for _, count in buckets) == len(values)
    ends = [end for end, _ in buckets]
    assert all(b / a == pytest.approx(GROWTH, rel=0.01) for a, b in itertools.pairwise(ends))
    for value in values[1:]:
        assert any(count and end / GROWTH * 0.999 <= value <= end * 1.001 for end, count in buckets), value


def test_a_request_belongs_to_the_slice_in_which_it_ended() -> None:
    found = [Outcome(ANSWERED, 0.0, 0.1), Outcome(ANSWERED, 0.0, 0.9), Outcome("queue_full", 0.6, 0.1)]
    first, second = slices(found, 0.5, 1.0)
    assert (first["answered"], first["others"], first["p50"]) == (1, 0, 100.0)
    assert (second["answered"], second["others"], second["p50"]) == (1, 1, 900.0)


def test_a_slice_in_which_nothing_ended_has_no_latency_and_the_last_moment_is_not_cut_off() -> None:
    pieces = slices([Outcome(ANSWERED, 0.0, 1.0)], 0.25, 1.0)
    assert [piece["answered"] for piece in pieces] == [0, 0, 0, 1]
    assert pieces[0]["p99"] is None


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    summary = summary_of(outcomes(0.1, 0.2, 0.3))
    summary.write(tmp_path / "run.json")
    assert Summary.read(tmp_path / "run.json") == summary
    assert json.loads((tmp_path / "run.json").read_text())["throughput"] == 1.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 99}', '{"version": 1, "x": 2}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own words differ
        Summary.read(tmp_path / "other.json")


def test_a_run_without_an_answer_has_its_numbers_too() -> None:
    summary = summary_of([Outcome("server_away", 0, 0.1)])
    assert (summary.latency, list(summary.histogram), summary.throughput) == ({}, [], 0.0)
