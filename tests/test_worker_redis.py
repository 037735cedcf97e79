"""A worker whose Redis goes away, or whose bell breaks: what it has computed is brought home, what waits is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from imagequeue import worker as worker_module
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
