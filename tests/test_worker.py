"""The worker's loop and its lease, in this process, with the null model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
import redis

from imagequeue import worker as worker_module
from imagequeue.connections import connect
from imagequeue.doorbell import Doorbell
from imagequeue.errors import JobFailed
from imagequeue.job import Job, Result, new_id
from imagequeue.jobqueue import JobQueue
from imagequeue.lease import Lease
from imagequeue.model import Model, load, null_class
from imagequeue.worker import Worker
from tests.support.jobs import end_lease, ids_in, reap
from tests.support.redisserver import RedisServer
from tests.support.system import eventually

SIZE = (8, 8)


def job(number: int) -> Job:
    return Job(pixels=bytes([number]) * (SIZE[0] * SIZE[1] * 3))


def null_model() -> Model:
    return load("null", weights="random", labels="imagenet", size=SIZE, preprocessing="auto", threads=1)


class Running:
    """A worker in a thread, and what it looks at."""

    def __init__(
        self, url: str, model: Model, lease_seconds: float, at: Callable[[str], None], bell_seconds: float = 0.1
    ) -> None:
        self.exits: list[int] = []
        self.queue = JobQueue(connect(url, name="worker:commands"))
        bell = Doorbell(connect(url, name="worker:bell", answer_seconds=5, repeats=0), self.queue, seconds=bell_seconds)
        heart = JobQueue(connect(url, name="worker:heartbeat"))
        self.lease = Lease(heart, seconds=lease_seconds, facts={"host": "test"}, exit_process=self.exits.append)
        self.worker = Worker(self.queue, bell, self.lease, model, max_batch=8, max_crashes=2, reap_interval=0.1, at=at)
        self.thread = threading.Thread(target=self.worker.run)
        self.thread.start()
        eventually(lambda: not self.lease.is_fenced)

    def stop(self) -> None:
        self.worker.drain()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


@pytest.fixture
def start(each_redis: RedisServer, client: redis.Redis) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def make(
        model: Model | None = None, lease_seconds: float = 5.0, at: Callable[[str], None] = lambda point: None
    ) -> Running:
        running.append(Running(each_redis.url, model or null_model(), lease_seconds, at))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def send(queue: JobQueue, *jobs: Job) -> None:
    for one in jobs:
        queue.enqueue(one, timeout=60, max_length=1000, needs_worker=False)


def results(queue: JobQueue, *jobs: Job) -> list[Result]:
    eventually(lambda: all(envelope for envelope, _ in queue.look_up([one.id for one in jobs])))
    return [Result.decode(envelope) for envelope, _ in queue.look_up([one.id for one in jobs]) if envelope]


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
    entered, go_on = threading.Event(), threading.Event()

    def at(point: str) -> None:
        if point == "predicted" and not entered.is_set():
            entered.set()
            go_on.wait(20)

    running = start(at=at)
    first = job(1)
    send(queue, first)
    assert entered.wait(20)
    later = [job(n) for n in range(2, 5)]
    send(queue, *later)
    running.worker.drain()
    go_on.set()
    running.stop()
    assert results(queue, first)[0].error is None
    assert ids_in(queue) == [one.id for one in later]
    assert queue.live_workers() == 0


def test_a_drain_hands_back_what_only_the_bell_had_brought(queue: JobQueue, start: Callable[..., Running]) -> None:
    rung, go_on = threading.Event(), threading.Event()

    def at(point: str) -> None:
        if point == "rung":
            rung.set()
            go_on.wait(20)

    running = start(at=at)
    eventually(lambda: queue.client.info("clients")["blocked_clients"] == 1)
    one = job(1)
    send(queue, one)
    assert rung.wait(20)
    running.worker.drain()
    go_on.set()
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
    running = start(lease_seconds=0.6)
    client = queue.client
    first = client.zscore(queue.key("workers"), running.lease.worker_id)
    eventually(lambda: (client.zscore(queue.key("workers"), running.lease.worker_id) or 0) > first + 1000)
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


def test_results_wait_for_a_redis_that_is_away(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(appendonly="yes")
    queue = JobQueue(server.client())
    entered, go_on = threading.Event(), threading.Event()

    def at(point: str) -> None:
        if point == "predicted" and not entered.is_set():
            entered.set()
            go_on.wait(20)

    running = Running(server.url, null_model(), 5.0, at)
    try:
        one = job(1)
        send(queue, one)
        assert entered.wait(20)
        server.stop()
        go_on.set()
        server.start()
        assert results(JobQueue(server.client()), one)[0].error is None
    finally:
        running.stop()


def test_a_drain_while_redis_has_long_been_away_still_waits_for_it(
    make_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_redis(appendonly="yes")
    queue = JobQueue(server.client())
    predicted, go_on, hours, pauses = threading.Event(), threading.Event(), [0.0], [0]

    def at(point: str) -> None:
        if point == "predicted" and not predicted.is_set():
            predicted.set()
            go_on.wait(20)

    def sleep(seconds: float) -> None:
        pauses[0] += 1
        time.sleep(seconds)

    def monotonic() -> float:
        return time.monotonic() + hours[0] * 3600

    clock = SimpleNamespace(monotonic=monotonic, perf_counter=time.perf_counter, sleep=sleep)
    monkeypatch.setattr(worker_module, "time", clock)
    running = Running(server.url, null_model(), 5.0, at)
    try:
        one = job(1)
        send(queue, one)
        assert predicted.wait(20)
        server.stop()
        go_on.set()
        eventually(lambda: pauses[0] > 0)
        hours[0] += 1
        running.worker.drain()
        so_far = pauses[0]
        eventually(lambda: pauses[0] >= so_far + 2)
        server.start()
        assert results(JobQueue(server.client()), one)[0].error is None
    finally:
        running.stop()


def test_a_job_that_a_broken_bell_moves_unheard_is_computed(redis_server: RedisServer) -> None:
    client = redis_server.client()
    queue = JobQueue(client)
    # As long as the worker's own bell is waited for, there is the time to enqueue.
    running = Running(redis_server.url, null_model(), 30.0, lambda point: None, bell_seconds=2.0)
    try:

        def waiting() -> list[str]:
            return [one["id"] for one in client.client_list() if one["cmd"] == "blmove"]

        eventually(lambda: len(waiting()) == 1)
        (bell,) = waiting()
        # What Redis holds of a BLMOVE whose other end has gone without a word: first in line, and heard by nobody.
        zombie = redis_server.client()
        processing = queue.key(f"processing:{running.lease.worker_id}")
        unheard = threading.Thread(target=lambda: zombie.blmove(queue.name, processing, 60, "LEFT", "RIGHT"))
        unheard.start()
        eventually(lambda: len(waiting()) == 2)
        client.client_kill_filter(_id=bell)
        eventually(lambda: len(waiting()) == 2 and bell not in waiting())
        one = job(1)
        send(queue, one)
        unheard.join()
        assert results(queue, one)[0].error is None
    finally:
        running.stop()


def test_ids_are_never_used_twice() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
