"""The doorbell: rung by a job, by a queue that may not be waited for, and by a doubt."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import redis

from imagequeue import doorbell as doorbell_module
from imagequeue.connections import connect
from imagequeue.doorbell import Doorbell
from imagequeue.errors import RedisDown
from imagequeue.jobqueue import JobQueue
from tests.support.jobs import claim, enqueue, fill_memory, free_memory, ids_in, join
from tests.support.redisserver import RedisServer
from tests.support.system import eventually


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client)
    join(queue, "w1")
    return queue


def test_the_doorbell_rings_for_a_job_and_keeps_silent_without_one(
    each_redis: RedisServer, client: redis.Redis, queue: JobQueue
) -> None:
    doorbell = Doorbell(connect(each_redis.url, name="bell", answer_seconds=5, repeats=0), queue, seconds=0.1)
    assert not doorbell.wait("w1")
    (job,) = enqueue(queue)
    assert doorbell.wait("w1")
    assert ids_in(queue, "processing:w1") == [job.id]


def test_the_doorbell_wakes_the_moment_a_job_comes(
    each_redis: RedisServer, client: redis.Redis, queue: JobQueue
) -> None:
    doorbell = Doorbell(connect(each_redis.url, name="bell", answer_seconds=60, repeats=0), queue, seconds=30)
    rang = threading.Event()
    thread = threading.Thread(target=lambda: doorbell.wait("w1") and rang.set())
    thread.start()
    eventually(lambda: client.info("clients")["blocked_clients"] == 1)
    enqueue(queue)
    assert rang.wait(10)
    thread.join()


def test_at_maxmemory_the_doorbell_lets_the_worker_claim_without_it(
    each_redis: RedisServer, client: redis.Redis, queue: JobQueue
) -> None:
    doorbell = Doorbell(connect(each_redis.url, name="bell", answer_seconds=5, repeats=0), queue, seconds=0.1)
    assert not doorbell.wait("w1")
    fill_memory(client)
    try:
        assert doorbell.wait("w1")
    finally:
        free_memory(client)


def test_after_its_connection_broke_it_rings_once_for_what_the_broken_one_may_still_move(
    each_redis: RedisServer, client: redis.Redis, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*args: object) -> None:
        raise redis.ConnectionError("gone")

    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(doorbell_module, "time", clock)
    bell = connect(each_redis.url, name="bell", answer_seconds=5, repeats=0)
    doorbell = Doorbell(bell, queue, seconds=0.1)
    (job,) = enqueue(queue)
    with monkeypatch.context() as breaking:
        breaking.setattr(bell, "blmove", break_off)
        with pytest.raises(RedisDown):
            doorbell.wait("w1")
    # As Redis does with a BLMOVE whose other end has gone without a word; nobody hears of it.
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    assert doorbell.wait("w1")
    assert claim(queue) == [job.id]
    # What that wait has taken.
    clock.now += 0.1
    assert not doorbell.wait("w1"), "the doubt is over"
