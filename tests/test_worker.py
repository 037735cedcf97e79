"""The worker's loop and its lease, in this process, with the null model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from imagequeue.errors import JobFailed
from imagequeue.job import Job, new_id
from imagequeue.jobqueue import JobQueue
from imagequeue.model import Model, null_class
from tests.support.jobs import end_lease, ids_in, reap
from tests.support.redisserver import RedisServer
from tests.support.runningworker import Halt, Running, job, null_model, results, send
from tests.support.system import eventually


@pytest.fixture
def start(each_redis: RedisServer, client: redis.Redis) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def make(
        model: Model | None = None,
        lease_seconds: float = 5.0,
        at: Callable[[str], None] = lambda point: None,
        **more: Any,
    ) -> Running:
        running.append(Running(each_redis.url, model or null_model(), lease_seconds, at, **more))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def test_every_job_gets_the_models_answer(queue: JobQueue, start: Callable[..., Running]) -> None:
    start()
    jobs = [job(n) for n in range(20)]
    send(queue, *jobs)
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert result.predictions[0].label == f"null_{null_class(one.pixels)}"
        assert result.facts["model"] == "null"


def test_as_many_predictions_come_back_as_the_job_asked_for(queue: JobQueue, start: Callable[..., Running]) -> None:
    start()
    jobs = [replace(job(n), top=top) for n, top in enumerate((1, 5, 1000))]
    send(queue, *jobs)
    assert [len(result.predictions) for result in results(queue, *jobs)] == [1, 5, 1000]


def test_the_next_batch_begins_once_the_results_are_stored_and_before_the_books_are_kept(
    queue: JobQueue, start: Callable[..., Running]
) -> None:
    # Slow enough to be worth working ahead for.
    model = replace(null_model(), paces={8: 0.05})
    jobs, steps = [job(n) for n in range(16)], []
    send(queue, *jobs)
    start(model, at=steps.append, on_batch=lambda outcomes: steps.append("accounted"))
    results(queue, *jobs)
    eventually(lambda: steps.count("accounted") == 2)
    first_two = [step for step in steps if step != "rung"][:8]
    assert first_two == [
        "claimed",
        "predicted",
        "completed",
        "claimed",
        "accounted",
        "predicted",
        "completed",
        "accounted",
    ]


def test_a_model_that_overlaps_has_the_next_batch_before_it_is_done_with_the_last(
    queue: JobQueue, start: Callable[..., Running]
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
    start(replace(model, predict=predict, paces={8: 0.02}, overlaps=True))
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert result.predictions[0].label == f"null_{null_class(one.pixels)}"


def test_a_drain_finishes_both_batches_that_an_overlapping_model_has(
    queue: JobQueue, start: Callable[..., Running]
) -> None:
    halt = Halt("predicted")
    jobs, later = [job(n) for n in range(16)], job(16)
    send(queue, *jobs)
    running = start(replace(null_model(), paces={8: 0.02}, overlaps=True), at=halt)
    assert halt.reached.wait(20)
    send(queue, later)
    running.worker.drain()
    halt.go_on.set()
    running.stop()
    assert all(result.error is None for result in results(queue, *jobs))
    assert ids_in(queue) == [later.id]


def test_nothing_is_computed_beside_an_image_that_a_worker_has_died_of(
    queue: JobQueue, start: Callable[..., Running]
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
    running = start(replace(model, predict=predict, paces={8: 0.02}, overlaps=True), at=at)
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


def test_an_image_that_raises_fails_alone(queue: JobQueue, start: Callable[..., Running]) -> None:
    bad = job(3)
    model = null_model()

    def predict(pixels):  # type: ignore[no-untyped-def]
        if any(image.tobytes() == bad.pixels for image in pixels):
            raise RuntimeError("this image")
        return model.predict(pixels)

    jobs = [job(n) for n in range(6)]
    jobs[3] = bad
    send(queue, *jobs)
    start(replace(model, predict=predict))
    found = results(queue, *jobs)
    assert isinstance(found[3].error, JobFailed)
    assert [r.predictions[0].label for i, r in enumerate(found) if i != 3] == [
        f"null_{null_class(one.pixels)}" for i, one in enumerate(jobs) if i != 3
    ]
    assert b"this image" in queue.dead()[0]


def test_pixels_of_another_size_fail_alone_and_say_which(queue: JobQueue, start: Callable[..., Running]) -> None:
    wrong, right = Job(pixels=b"123"), job(1)
    send(queue, wrong, right)
    start()
    found = results(queue, wrong, right)
    assert isinstance(found[0].error, JobFailed)
    assert found[1].error is None
    assert b"3 bytes of pixels; the model takes 192" in queue.dead()[0]


def test_a_drain_finishes_the_batch_and_leaves_nothing_held(queue: JobQueue, start: Callable[..., Running]) -> None:
    halt = Halt("predicted")
    running = start(at=halt)
    first = job(1)
    send(queue, first)
    assert halt.reached.wait(20)
    later = [job(n) for n in range(2, 5)]
    send(queue, *later)
    running.worker.drain()
    halt.go_on.set()
    running.stop()
    assert results(queue, first)[0].error is None
    assert ids_in(queue) == [one.id for one in later]
    assert queue.live_workers() == 0


def test_a_drain_hands_back_what_only_the_bell_had_brought(queue: JobQueue, start: Callable[..., Running]) -> None:
    halt = Halt("rung")
    running = start(at=halt)
    eventually(lambda: queue.client.info("clients")["blocked_clients"] == 1)
    one = job(1)
    send(queue, one)
    assert halt.reached.wait(20)
    running.worker.drain()
    halt.go_on.set()
    running.stop()
    assert ids_in(queue) == [one.id]


def test_a_fenced_worker_takes_a_new_id_and_serves_on(
    client: redis.Redis, queue: JobQueue, start: Callable[..., Running]
) -> None:
    running = start()
    first_id = running.lease.worker_id
    reap(queue, victim=first_id)
    eventually(lambda: running.lease.worker_id != first_id)
    one = job(1)
    send(queue, one)
    assert results(queue, one)[0].error is None


def test_the_lease_is_renewed_while_the_loop_is_alive(queue: JobQueue, start: Callable[..., Running]) -> None:
    running = start(lease_seconds=3.0)
    client, worker_id = queue.client, running.lease.worker_id
    first = client.zscore(queue.key("workers"), worker_id)
    assert first is not None
    # By more than the first claim, which renews it too.
    eventually(lambda: (client.zscore(queue.key("workers"), worker_id) or 0) > first + 500)
    assert running.lease.worker_id == worker_id, "renewed, and not lost and taken anew"
    assert running.exits == []


def test_a_loop_that_stands_still_loses_its_lease_and_ends_its_process(
    queue: JobQueue, start: Callable[..., Running]
) -> None:
    go_on = threading.Event()

    def at(point: str) -> None:
        if point == "claimed":
            go_on.wait(30)

    running = start(lease_seconds=0.3, at=at)
    send(queue, job(1))
    eventually(lambda: queue.live_workers() == 0)
    eventually(lambda: running.exits == [70])
    go_on.set()


def test_suspects_left_by_a_dead_worker_are_found_without_a_bell(
    queue: JobQueue, start: Callable[..., Running]
) -> None:
    one = job(1)
    send(queue, one)
    queue.join("dead-worker", 60, {"host": "x"})
    queue.claim("dead-worker", lease_seconds=60, token="t", limit=1)
    end_lease(queue, "dead-worker")
    start()
    assert results(queue, one)[0].error is None
    assert queue.stats()["crashes"] == 1


def test_ids_are_never_used_twice() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
