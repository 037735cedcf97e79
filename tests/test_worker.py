"""The worker's loop and its lease, in this process, with the null model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from imagequeue.errors import JobFailed
from imagequeue.job import Job, new_id
from imagequeue.jobqueue import JobQueue
from imagequeue.model import null_class
from tests.support.jobs import end_lease, ids_in, reap
from tests.support.runningworker import Halt, Running, job, null_model, results, send
from tests.support.system import eventually


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def test_every_job_gets_the_models_answer(queue: JobQueue, start_worker: Callable[..., Running]) -> None:
    start_worker()
    jobs = [job(n) for n in range(20)]
    send(queue, *jobs)
    for one, result in zip(jobs, results(queue, *jobs), strict=True):
        assert result.predictions[0].label == f"null_{null_class(one.pixels)}"
        assert result.facts["model"] == "null"


def test_as_many_predictions_come_back_as_the_job_asked_for(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    start_worker()
    jobs = [replace(job(n), top=top) for n, top in enumerate((1, 5, 1000))]
    send(queue, *jobs)
    assert [len(result.predictions) for result in results(queue, *jobs)] == [1, 5, 1000]


def test_the_next_batch_begins_once_the_results_are_stored_and_before_the_books_are_kept(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    # Slow enough to be worth working ahead for.
    model = replace(null_model(), paces={8: 0.05})
    jobs, steps = [job(n) for n in range(16)], []
    send(queue, *jobs)
    start_worker(model, at=steps.append, on_batch=lambda outcomes: steps.append("accounted"))
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


def test_an_image_that_raises_fails_alone(queue: JobQueue, start_worker: Callable[..., Running]) -> None:
    bad = job(3)
    model = null_model()

    def predict(pixels):  # type: ignore[no-untyped-def]
        if any(image.tobytes() == bad.pixels for image in pixels):
            raise RuntimeError("this image")
        return model.predict(pixels)

    jobs = [job(n) for n in range(6)]
    jobs[3] = bad
    send(queue, *jobs)
    start_worker(replace(model, predict=predict))
    found = results(queue, *jobs)
    assert isinstance(found[3].error, JobFailed)
    assert [r.predictions[0].label for i, r in enumerate(found) if i != 3] == [
        f"null_{null_class(one.pixels)}" for i, one in enumerate(jobs) if i != 3
    ]
    assert b"this image" in queue.dead()[0]


def test_pixels_of_another_size_fail_alone_and_say_which(queue: JobQueue, start_worker: Callable[..., Running]) -> None:
    wrong, right = Job(pixels=b"123"), job(1)
    send(queue, wrong, right)
    start_worker()
    found = results(queue, wrong, right)
    assert isinstance(found[0].error, JobFailed)
    assert found[1].error is None
    assert b"3 bytes of pixels; the model takes 192" in queue.dead()[0]


def test_a_drain_finishes_the_batch_and_leaves_nothing_held(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    halt = Halt("predicted")
    running = start_worker(at=halt)
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


def test_a_drain_hands_back_what_only_the_bell_had_brought(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    halt = Halt("rung")
    running = start_worker(at=halt)
    eventually(lambda: queue.client.info("clients")["blocked_clients"] == 1)
    one = job(1)
    send(queue, one)
    assert halt.reached.wait(20)
    running.worker.drain()
    halt.go_on.set()
    running.stop()
    assert ids_in(queue) == [one.id]


def test_a_fenced_worker_takes_a_new_id_and_serves_on(
    client: redis.Redis, queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    running = start_worker()
    first_id = running.lease.worker_id
    reap(queue, victim=first_id)
    eventually(lambda: running.lease.worker_id != first_id)
    one = job(1)
    send(queue, one)
    assert results(queue, one)[0].error is None


def test_the_lease_is_renewed_while_the_loop_is_alive(queue: JobQueue, start_worker: Callable[..., Running]) -> None:
    running = start_worker(lease_seconds=3.0)
    client, worker_id = queue.client, running.lease.worker_id
    first = client.zscore(queue.key("workers"), worker_id)
    assert first is not None
    # By more than the first claim, which renews it too.
    eventually(lambda: (client.zscore(queue.key("workers"), worker_id) or 0) > first + 500)
    assert running.lease.worker_id == worker_id, "renewed, and not lost and taken anew"
    assert running.exits == []


def test_a_loop_that_stands_still_loses_its_lease_and_ends_its_process(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    go_on = threading.Event()

    def at(point: str) -> None:
        if point == "claimed":
            go_on.wait(30)

    running = start_worker(lease_seconds=0.3, at=at)
    send(queue, job(1))
    eventually(lambda: queue.live_workers() == 0)
    eventually(lambda: running.exits == [70])
    go_on.set()


def test_suspects_left_by_a_dead_worker_are_found_without_a_bell(
    queue: JobQueue, start_worker: Callable[..., Running]
) -> None:
    one = job(1)
    send(queue, one)
    queue.join("dead-worker", 60, {"host": "x"})
    queue.claim("dead-worker", lease_seconds=60, token="t", limit=1)
    end_lease(queue, "dead-worker")
    start_worker()
    assert results(queue, one)[0].error is None
    assert queue.stats()["crashes"] == 1


def test_ids_are_never_used_twice() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
