"""A worker whose Redis goes away, or whose bell breaks: what it has computed is brought home, what waits is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from imagequeue import doorbell as doorbell_module
from imagequeue import worker as worker_module
from imagequeue.connections import connect
from imagequeue.jobqueue import JobQueue
from tests.support.redisserver import RedisServer
from tests.support.runningworker import Halt, Running, job, null_model, results, send
from tests.support.system import eventually


def test_results_wait_for_a_redis_that_is_away(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(appendonly="yes")
    queue = JobQueue(server.client())
    halt = Halt("predicted")
    running = Running(server.url, null_model(), 5.0, halt)
    try:
        one = job(1)
        send(queue, one)
        assert halt.reached.wait(20)
        server.stop()
        halt.go_on.set()
        server.start()
        assert results(JobQueue(server.client()), one)[0].error is None
    finally:
        running.stop()


def test_a_drain_while_redis_has_long_been_away_still_waits_for_it(
    make_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_redis(appendonly="yes")
    queue = JobQueue(server.client())
    halt, hours, pauses = Halt("predicted"), [0.0], [0]

    def sleep(seconds: float) -> None:
        pauses[0] += 1
        time.sleep(seconds)

    def monotonic() -> float:
        return time.monotonic() + hours[0] * 3600

    clock = SimpleNamespace(monotonic=monotonic, perf_counter=time.perf_counter, sleep=sleep)
    monkeypatch.setattr(worker_module, "time", clock)
    running = Running(server.url, null_model(), 5.0, halt)
    try:
        one = job(1)
        send(queue, one)
        assert halt.reached.wait(20)
        server.stop()
        halt.go_on.set()
        eventually(lambda: pauses[0] > 0)
        hours[0] += 1
        running.worker.drain()
        so_far = pauses[0]
        eventually(lambda: pauses[0] >= so_far + 2)
        server.start()
        assert results(JobQueue(server.client()), one)[0].error is None
    finally:
        running.stop()


def test_a_job_that_a_broken_bell_moves_unheard_is_computed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis_server.client()
    queue = JobQueue(client)
    # The doubt lasts until the job has been moved, however long that takes here.
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(doorbell_module, "time", clock)
    running = Running(redis_server.url, null_model(), 30.0, lambda point: None, bell_seconds=4.0)
    try:

        def waiting() -> dict[str, str]:
            """Who waits by BLMOVE: names of connections, and their ids."""
            return {one["name"]: one["id"] for one in client.client_list() if one["flags"] == "b"}

        eventually(lambda: "worker:bell" in waiting())
        bell = waiting()["worker:bell"]
        # The next wait, which the job is to end, takes less.
        running.worker._doorbell._seconds = 0.5
        # What Redis holds of a BLMOVE whose other end has gone without a word: first in line, and heard by nobody.
        zombie = connect(redis_server.url, name="zombie", answer_seconds=60, repeats=0)
        processing = queue.key(f"processing:{running.lease.worker_id}")
        unheard = threading.Thread(target=lambda: zombie.blmove(queue.name, processing, 50, "LEFT", "RIGHT"))
        unheard.start()
        eventually(lambda: "zombie" in waiting())
        client.client_kill_filter(_id=bell)
        eventually(lambda: waiting().get("worker:bell", bell) != bell)
        one = job(1)
        send(queue, one)
        unheard.join()
        assert results(queue, one)[0].error is None
    finally:
        running.stop()
