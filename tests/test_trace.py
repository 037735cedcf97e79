"""A trace's account: Redis's clock places what happened elsewhere, whatever the hosts believe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagequeue.errors import JobFailed
from imagequeue.job import Result
from imagequeue.trace import Trace

FACTS = {
    "queued_ms": 40,
    "claimed_at": 1_700_000_000_040,
    "waited_ms": 5.0,
    "inference_ms": 100.0,
    "stored_at": 1_700_000_000_150,
    "batch": 8,
    "worker": "host:7:abc",
    "model": "resnet50",
    "weights": "imagenet",
}
TRACE = Trace(
    id="1f" * 16,
    web="web:host:1",
    # This host's clock is an hour behind.
    at=1_700_000_000.0 - 3600,
    received_ms=-12.0,
    decode_ms=9.0,
    enqueue_ms=2.0,
    answered_ms=152.5,
    woken_ms=152.0,
    by="message",
    facts=FACTS,
)


def steps(trace: Trace) -> dict[str, float]:
    return {step["name"]: step["at_ms"] for step in trace.described()["steps"]}


def test_the_steps_lie_where_redis_and_the_web_server_saw_them() -> None:
    assert steps(TRACE) == {
        "received": 0.0,
        "decoded": 11.0,
        "enqueued": 12.0,
        "claimed": 52.0,
        "predicted": 157.0,
        "stored": 162.0,
        "published": 162.0,
        "woken": 164.0,
        "answered": 164.5,
    }


def test_a_host_s_clock_that_is_an_hour_off_moves_nothing() -> None:
    assert TRACE.described()["received"] == "2023-11-14T22:13:19.988Z"
    other = replace(TRACE, at=TRACE.at + 7200)
    assert other.described() == TRACE.described()


def test_without_a_worker_s_account_the_host_s_clock_is_named_as_such() -> None:
    account = replace(TRACE, facts={}, by="", woken_ms=None, status=504, error="deadline_exceeded").described()
    assert account["clock"] == "web server"
    assert account["received"].startswith("2023-11-14T21:13:19")
    assert [step["name"] for step in account["steps"]] == ["received", "decoded", "enqueued", "answered"]


def test_no_step_comes_before_the_one_that_led_to_it() -> None:
    """Milliseconds are cut on one clock and not on the other."""
    early = replace(TRACE, woken_ms=149.2, answered_ms=149.4)
    told = early.described()
    assert all(step["ms"] >= 0 for step in told["steps"])
    assert steps(early)["woken"] == steps(early)["stored"]


def test_who_took_a_step_stands_beside_it() -> None:
    told = {step["name"]: step for step in TRACE.described()["steps"]}
    assert told["claimed"]["worker"] == "host:7:abc"
    assert (told["predicted"]["batch"], told["predicted"]["inference_ms"]) == (8, 100.0)
    assert told["woken"]["by"] == "message"


def test_what_is_encoded_is_decoded() -> None:
    assert Trace.decode(TRACE.encode()) == TRACE


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"id": 1, "more": 2}'])
def test_what_is_no_trace_is_refused(document: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        Trace.decode(document)


def test_a_job_that_nobody_waited_for_is_completed_by_its_result() -> None:
    accepted = replace(TRACE, facts={}, by="", woken_ms=None, status=202)
    assert list(steps(accepted)) == ["received", "decoded", "enqueued"]
    done = accepted.completed(Result(TRACE.id, facts=FACTS))
    assert list(steps(done)) == ["received", "decoded", "enqueued", "claimed", "predicted", "stored"]
    failed = accepted.completed(Result(TRACE.id, error=JobFailed("no")))
    assert failed.described()["error"] == "job_failed"
