"""Traces are written behind the requests' backs: in few round trips, bounded, and not at all rather than late."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import redis

from imagequeue import tracestore
from imagequeue.connections import connect
from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from imagequeue.trace import Trace
from imagequeue.tracestore import TraceWriter, find
from tests.support.jobs import claim, enqueue, join, make_result
from tests.support.monitor import Monitor
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import eventually

Writer = TraceWriter[str]


def trace(job_id: str) -> Trace:
    return Trace(job_id, "web", 1.0, -2.0, 1.0, 0.5, 3.0, woken_ms=2.0, by="message")


@pytest.fixture
def make_writer(each_redis: RedisServer, client: redis.Redis) -> Iterator[Callable[..., Writer]]:
    writers: list[Writer] = []

    def make(url: str = each_redis.url) -> Writer:
        writers.append(TraceWriter(lambda: JobQueue(connect(url, name="traces"), result_ttl=30.0), trace))
        return writers[-1]

    yield make
    for writer in writers:
        writer.stop()


def test_what_is_added_is_found(client: redis.Redis, make_writer: Callable[..., Writer]) -> None:
    writer, queue = make_writer(), JobQueue(client)
    writer.add("a" * 32)
    eventually(lambda: find(queue, "a" * 32) is not None)
    assert find(queue, "a" * 32) == trace("a" * 32)
    assert find(queue, "b" * 32) is None


def test_a_hundred_cost_one_round_trip(client: redis.Redis, make_writer: Callable[..., Writer]) -> None:
    writer = make_writer()
    writer.add("first")
    eventually(lambda: client.exists("{image_queue}:trace:first"))
    with Monitor(client) as monitor:
        for number in range(100):
            writer.add(str(number))
        eventually(lambda: client.exists("{image_queue}:trace:99"))
    assert monitor.commands("traces") == {"SET": 100}, "and nothing beside"


def test_what_waits_is_written_at_the_end(client: redis.Redis, make_writer: Callable[..., Writer]) -> None:
    writer = make_writer()
    writer.add("last")
    writer.stop()
    assert client.exists("{image_queue}:trace:last")


def test_more_than_may_be_kept_is_dropped_the_oldest_first(
    client: redis.Redis, make_writer: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracestore, "PAUSE_SECONDS", 30.0)
    writer = make_writer()
    for number in range(1000):
        writer.add(str(number))
    writer.stop()
    kept = {int(key.rsplit(b":", 1)[1]) for key in client.keys("*:trace:*")}
    assert kept == set(range(1000 - tracestore.MOST, 1000))


def test_a_redis_that_is_away_holds_nobody_up_and_ends_nothing(
    redis_server: RedisServer, make_writer: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracestore, "PAUSE_SECONDS", 0.02)
    told: list[str] = []
    monkeypatch.setattr(tracestore, "log", lambda action, **fields: told.append(action))
    redis_server.stop()
    writer = make_writer(redis_server.url)
    writer.add("lost")
    eventually(lambda: told == ["traces_lost"])
    redis_server.start()
    writer.add("kept")
    with redis_server.client() as client:
        eventually(lambda: client.exists("{image_queue}:trace:kept"))


def test_a_forked_process_has_a_thread_of_its_own(client: redis.Redis, make_writer: Callable[..., Writer]) -> None:
    writer = make_writer()
    writer.add("parent")
    pid = os.fork()
    if pid == 0:
        try:
            writer.add("child")
            writer.stop()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    writer.stop()
    assert client.exists("{image_queue}:trace:child", "{image_queue}:trace:parent") == 2


def test_a_result_tells_when_it_was_stored_by_redis_own_clock(client: redis.Redis) -> None:
    queue = JobQueue(client)
    join(queue, "w1")
    (job,) = enqueue(queue)
    claim(queue)
    before = int(client.time()[0])
    queue.complete("w1", "t1", [(job, make_result(job))])
    ((envelope, _),) = queue.look_up([job.id])
    assert envelope is not None
    stored = Result.decode(envelope).facts["stored_at"]
    assert before <= stored / 1000 <= int(client.time()[0]) + 1


def test_the_port_of_nobody_is_no_reason_to_fail(make_writer: Callable[..., Writer]) -> None:
    writer = make_writer(f"redis://127.0.0.1:{free_port()}/0")
    writer.add("lost")
    writer.stop()
