"""The answers of late: the latest first, percentiles of one minute, never more than a fixed number."""

from __future__ import annotations

from imagequeue.errors import QueueFull
from imagequeue.job import Prediction, Result
from imagequeue.web.answer import Answer
from imagequeue.web.recent import MOST, WINDOW_SECONDS, Recent, percentile


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def good(name: str, total_ms: float) -> Answer:
    facts = {"queued_ms": 3, "inference_ms": 20.5}
    result = Result(id=name, predictions=(Prediction("castle", 0.9, 483),), facts=facts)
    return Answer(id=name, result=result, decode_ms=4.0, enqueue_ms=1.0, wake_ms=2.0, total_ms=total_ms)


def test_the_latest_answers_come_first_with_what_became_of_them() -> None:
    clock = Clock()
    recent = Recent(clock=clock)
    recent.add(good("first", 30.04))
    clock.now += 1
    recent.add(Answer(id="second", error=QueueFull("full"), total_ms=1.0))
    assert recent.latest(5) == [
        {"id": "second", "time": 1001.0, "status": 503, "label": "queue_full", "ms": 1.0},
        {"id": "first", "time": 1000.0, "status": 200, "label": "castle", "ms": 30.0},
    ]
    assert [seen["id"] for seen in recent.latest(1)] == ["second"]


def test_percentiles_are_of_each_stage_of_the_good_answers() -> None:
    recent = Recent()
    for ms in range(1, 101):
        recent.add(good("good", float(ms)))
    recent.add(Answer(id="bad", error=QueueFull("full"), total_ms=9999.0))
    latency = recent.latency()
    assert latency["count"] == 100
    assert latency["total"] == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert latency["decode"]["p50"] == 4.0
    assert latency["enqueue"]["p50"] == 1.0
    assert latency["queue"]["p50"] == 3.0
    assert latency["inference"]["p50"] == 20.5
    assert latency["wake"]["p50"] == 2.0


def test_answers_older_than_a_minute_no_longer_count() -> None:
    clock = Clock()
    recent = Recent(clock=clock)
    recent.add(good("old", 500.0))
    clock.now += WINDOW_SECONDS + 1
    assert recent.latency() == {"count": 0, "seconds": WINDOW_SECONDS}
    recent.add(good("new", 5.0))
    assert recent.latency()["total"]["max"] == 5.0


def test_the_ring_is_bounded() -> None:
    recent = Recent()
    for number in range(MOST + 10):
        recent.add(good(str(number), 1.0))
    assert recent.latency()["count"] == MOST
    assert len(recent.latest(10 * MOST)) == MOST


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([1.0, 2.0], 0.51) == 2.0
