"""The answers of late: the latest first, percentiles of one minute, never more than a fixed number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from imagequeue.errors import QueueFull
from imagequeue.job import Prediction, Result
from imagequeue.web.answer import Answer
from imagequeue.web.recent import MOST, STAGES, WINDOW_SECONDS, Recent, percentile
from tests.support.system import ROOT, eventually


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
    assert recent.read().latest(5) == [
        {"id": "second", "time": 1001.0, "status": 503, "label": "queue_full", "ms": 1.0},
        {"id": "first", "time": 1000.0, "status": 200, "label": "castle", "ms": 30.0},
    ]
    assert [seen["id"] for seen in recent.read().latest(1)] == ["second"]


def test_percentiles_are_of_each_stage_of_the_good_answers() -> None:
    recent = Recent()
    for ms in range(1, 101):
        recent.add(good("good", float(ms)))
    recent.add(Answer(id="bad", error=QueueFull("full"), total_ms=9999.0))
    latency = recent.read().latency()
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
    assert recent.read().latency() == {"count": 0, "seconds": WINDOW_SECONDS}
    recent.add(good("new", 5.0))
    assert recent.read().latency()["total"]["max"] == 5.0


def test_the_ring_is_bounded() -> None:
    recent = Recent()
    for number in range(MOST + 10):
        recent.add(good(str(number), 1.0))
    assert recent.read().latency()["count"] == MOST
    assert len(recent.read().latest(10 * MOST)) == MOST


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([1.0, 2.0], 0.51) == 2.0


def test_each_stage_of_an_answer_has_its_place_in_a_record() -> None:
    assert tuple(good("", 1.0).stages()) == STAGES


def test_a_long_label_is_cut_off_between_two_characters() -> None:
    recent = Recent()
    recent.add(Answer(id="", result=Result(id="", predictions=(Prediction("x" + "ä" * 30, 0.9, 1),))))
    (seen,) = recent.read().latest(1)
    assert seen["label"] == "x" + "ä" * 19


def test_what_siblings_answered_is_seen_until_it_is_a_minute_old(tmp_path: Path) -> None:
    clock = Clock()
    sibling = subprocess.Popen(
        [sys.executable, "-c", SIBLING, str(tmp_path), str(clock.now)], stdin=subprocess.PIPE, cwd=ROOT
    )
    recent = Recent(tmp_path, clock=clock)
    recent.add(good("own", 10.0))
    eventually(lambda: len(recent.read().latest(9)) == 2)
    clock.now += 1
    recent.add(good("later", 30.0))
    assert recent.read().latest(1)[0]["id"] == "later"
    assert recent.read().latency()["total"]["p50"] == 20.0
    sibling.communicate()
    assert recent.read().latency()["count"] == 3, "what it said outlives it"
    clock.now += WINDOW_SECONDS
    recent.read()
    assert {seen["id"] for seen in recent.read().latest(9)} == {"own", "later"}
    assert [file.name for file in tmp_path.iterdir()] == [f"answers_{os.getpid()}.ring"]


# One process more, that has answered one image and waits for its end.
SIBLING = """
import sys
from pathlib import Path
from imagequeue.web.recent import Recent
from tests.web.test_recent import good
recent = Recent(Path(sys.argv[1]), clock=lambda: float(sys.argv[2]))
recent.add(good("sibling", 20.0))
sys.stdin.read()
"""
