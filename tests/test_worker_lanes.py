"""The worker's loop around a model that has lanes, and so has two batches at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from imagequeue.batchlatency import BatchLatency
from imagequeue.errors import JobFailed, RedisDown
from imagequeue.job import Job, Result
from imagequeue.jobqueue import JobQueue
from imagequeue.model import Model, null_class
from imagequeue.runtimes import Predict
from imagequeue.worker import Worker
from tests.support.jobs import ids_in, reap
from tests.support.runningworker import Halt, Running, job, null_model, results, send
from tests.support.system import eventually


def with_lanes(predict: Predict | None = None) -> Model:
    """The null model, or `predict`, with time for claiming the next batch at once."""
    model = null_model()
    return replace(model, predict=predict or model.predict, paces={8: 0.02}, has_lanes=True)


def is_right(one: Job, result: Result) -> bool:
    return bool(result.predictions) and result.predictions[0].label == f"null_{null_class(one.pixels)}"


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def test_the_next_batch_is_given_to_the_model_before_it_is_done_with_the_last(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    both = threading.Barrier(2, timeout=20)
    model = null_model()

    def predict(pixels):  # type: ignore[no-untyped-def]
        # Neither is done before the other has begun.
        both.wait()
        return model.predict(pixels)

    jobs = [job(n) for n in range(16)]
    send(queue, *jobs)
    # Twenty milliseconds, in which the next one is claimed at once.
    start_worker(with_lanes(predict))
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert is_right(one, result)


def test_a_drain_finishes_both_batches(queue: JobQueue, start_worker: Callable[..., Running]) -> None:
    halt = Halt("predicted")
    jobs, later = [job(n) for n in range(16)], job(16)
    send(queue, *jobs)
    running = start_worker(with_lanes(), at=halt)
    assert halt.reached.wait(20)
    send(queue, later)
    running.worker.drain()
    halt.go_on.set()
    running.stop()
    assert all(result.error is None for result in results(queue, *jobs))
    assert ids_in(queue) == [later.id]


def test_nothing_is_computed_beside_an_image_that_a_worker_has_died_of(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    model, suspect, first = null_model(), job(100), [job(n) for n in range(8)]
    suspect_is_claimed, halt, steps = threading.Event(), Halt("claimed"), []

    def predict(pixels):  # type: ignore[no-untyped-def]
        suspect_is_claimed.wait(20)
        return model.predict(pixels)

    def at(point: str) -> None:
        steps.append(point)
        halt(point)

    send(queue, *first)
    running = start_worker(with_lanes(predict), at=at)
    assert halt.reached.wait(20)
    # As if the worker's bell had brought it, and not the list of suspects, which is looked at with empty hands only.
    send(queue, suspect)
    client, mine = queue.client, queue.key(f"processing:{running.lease.worker_id}")
    client.hset(queue.key(f"job:{suspect.id}"), "crashes", 1)
    client.lmove(queue.name, mine, "LEFT", "RIGHT")
    halt.go_on.set()
    eventually(lambda: client.hget(queue.key(f"job:{suspect.id}"), "state") == b"claimed")
    suspect_is_claimed.set()
    results(queue, *first, suspect)
    assert [step for step in steps if step != "rung"][:4] == ["claimed", "predicted", "completed", "claimed"]


def test_one_that_raises_fails_alone_in_whichever_of_the_two_it_is(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    bad, model, both = {job(3).pixels, job(12).pixels}, null_model(), threading.Barrier(2, timeout=20)

    def predict(pixels):  # type: ignore[no-untyped-def]
        if len(pixels) == 8:
            both.wait()
        if any(image.tobytes() in bad for image in pixels):
            raise RuntimeError("this image")
        return model.predict(pixels)

    jobs = [job(n) for n in range(16)]
    send(queue, *jobs)
    start_worker(with_lanes(predict))
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert isinstance(result.error, JobFailed) if one.pixels in bad else is_right(one, result)


@pytest.mark.parametrize("drains", [False, True])
def test_a_redis_that_fails_while_the_model_has_a_batch_does_not_take_the_batch_from_it(
    queue: JobQueue, start_worker: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, drains: bool
) -> None:
    model, computed, halt = null_model(), [], Halt("completed")

    def predict(pixels):  # type: ignore[no-untyped-def]
        computed.append(len(pixels))
        return model.predict(pixels)

    def reap_in_vain(**options: object) -> None:
        raise RedisDown("gone for a moment")

    jobs = [job(n) for n in range(16)]
    send(queue, *jobs)
    running = start_worker(with_lanes(predict), at=halt)
    assert halt.reached.wait(20)
    monkeypatch.setattr(running.queue, "reap", reap_in_vain)
    if drains:
        running.worker.drain()
    halt.go_on.set()
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert is_right(one, result)
    running.stop()
    assert computed == [8, 8], "no image was computed twice"


def test_of_a_worker_that_was_fenced_with_two_batches_each_job_is_answered_once(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    halt, jobs = Halt("predicted"), [job(n) for n in range(16)]
    send(queue, *jobs)
    running = start_worker(with_lanes(), at=halt)
    assert halt.reached.wait(20)
    reap(queue, victim=running.lease.worker_id)
    assert queue.stats()["crashes"] == 16, "both were in its hands"
    halt.go_on.set()
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert is_right(one, result)
    # The documents that came back are met by the claims of its next life.
    eventually(lambda: not queue.client.llen(queue.key("suspect")))
    running.stop()
    assert queue.stats()["completed"] == 16


def test_without_a_thread_for_the_second_batch_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def start_unless_second(thread: threading.Thread) -> None:
        if thread.name == "model_1":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start_unless_second)
    nothing: Any = None
    model = with_lanes()
    worker = Worker(nothing, nothing, nothing, model, BatchLatency(model, max_batch=8), max_crashes=2)
    with pytest.raises(RuntimeError, match="new thread"):
        worker.run()
    (first,) = [thread for thread in threading.enumerate() if thread.name == "model_0"]
    worker._model_threads.shutdown()
    assert not first.is_alive(), "it waits for nobody"
