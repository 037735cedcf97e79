"""heartbeat.lua, release.lua and reap.lua: leases, and what happens to jobs when they end."""

from __future__ import annotations

import pytest
import redis

from imagequeue.errors import Fenced, JobFailed
from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from tests.support.jobs import (
    claim,
    end_lease,
    enqueue,
    ids_in,
    job_hash,
    join,
    reap,
    snapshot,
)


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client)
    join(queue, "w1")
    return queue


def test_joining_takes_a_lease_and_tells_people_who_it_is(client: redis.Redis, queue: JobQueue) -> None:
    assert queue.live_workers() == 1
    assert client.hget(queue.key("worker:w1"), "host") == b"test"
    assert client.pttl(queue.key("worker:w1")) > 0


def test_an_id_that_was_reaped_takes_no_lease_again(queue: JobQueue) -> None:
    reap(queue, victim="w1")
    with pytest.raises(Fenced):
        join(queue, "w1")


def test_a_beat_extends_the_lease(client: redis.Redis, queue: JobQueue) -> None:
    join(queue, "w2", lease=1.0)
    queue.heartbeat("w2", 60.0)
    ends = dict(client.zrange(queue.key("workers"), 0, -1, withscores=True))
    assert ends[b"w2"] > ends[b"w1"]


def test_a_beat_without_a_lease_is_fenced_and_takes_none(queue: JobQueue) -> None:
    with pytest.raises(Fenced):
        queue.heartbeat("stranger", 5.0)
    assert queue.live_workers() == 1


def test_a_lease_that_has_ended_is_no_live_worker(queue: JobQueue) -> None:
    end_lease(queue, "w1")
    assert queue.live_workers() == 0


def test_release_hands_back_in_order_at_the_head_and_charges_no_attempt(queue: JobQueue) -> None:
    jobs = enqueue(queue, 5)
    claim(queue, limit=3)
    assert queue.release("w1") == 3
    assert ids_in(queue) == [job.id for job in jobs]
    held = job_hash(queue, jobs[0])
    assert (held["attempts"], held["state"], "token" in held) == ("0", "waiting", False)
    assert queue.live_workers() == 0


def test_release_returns_a_suspect_to_the_suspects(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    join(queue, "w2")
    claim(queue, "w2", token="t2")
    queue.release("w2")
    assert ids_in(queue, "suspect") == [job.id]
    assert ids_in(queue) == []


def test_a_repeated_release_changes_nothing(client: redis.Redis, queue: JobQueue) -> None:
    enqueue(queue, 2)
    claim(queue)
    queue.release("w1")
    before = snapshot(client)
    assert queue.release("w1") == 0
    assert snapshot(client) == before


def test_reap_leaves_a_worker_with_a_lease_alone(queue: JobQueue) -> None:
    enqueue(queue, 2)
    claim(queue)
    assert reap(queue) == (0, 0, 0, 0)
    assert len(ids_in(queue, "processing:w1")) == 2


def test_jobs_that_were_never_stamped_go_back_to_the_head_uncharged(client: redis.Redis, queue: JobQueue) -> None:
    jobs = enqueue(queue, 3)
    for _ in range(2):
        client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    end_lease(queue, "w1")
    assert reap(queue) == (0, 1, 2, 0)
    assert ids_in(queue) == [job.id for job in jobs]
    assert job_hash(queue, jobs[0])["crashes"] == "0"


def test_stamped_jobs_become_suspects_and_are_charged_a_crash(queue: JobQueue) -> None:
    jobs = enqueue(queue, 2)
    claim(queue)
    end_lease(queue, "w1")
    assert reap(queue) == (2, 1, 2, 0)
    assert ids_in(queue, "suspect") == [job.id for job in jobs]
    held = job_hash(queue, jobs[0])
    assert (held["crashes"], held["state"], "token" in held) == ("1", "suspect", False)


def test_a_job_that_has_had_its_crashes_is_failed_at_once_and_kept(client: redis.Redis, queue: JobQueue) -> None:
    enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    join(queue, "w2")
    claim(queue, "w2", token="t2")
    with client.pubsub() as listener:
        listener.subscribe(queue.channel("web-1"))
        listener.get_message(timeout=5)
        assert reap(queue, victim="w2") == (0, 1, 0, 1)
        heard = Result.decode(listener.get_message(timeout=5)["data"])
    assert isinstance(heard.error, JobFailed)
    assert "died 2 times" in str(heard.error)
    assert len(queue.dead()) == 1
    assert ids_in(queue, "suspect") == ids_in(queue) == []


def test_a_reaped_worker_is_fenced(queue: JobQueue) -> None:
    end_lease(queue, "w1")
    reap(queue)
    with pytest.raises(Fenced):
        queue.heartbeat("w1", 5.0)


def test_a_repeated_reap_changes_nothing(client: redis.Redis, queue: JobQueue) -> None:
    enqueue(queue, 2)
    claim(queue)
    end_lease(queue, "w1")
    reap(queue)
    before = snapshot(client)
    assert reap(queue)[1:] == (0, 0, 0)
    assert snapshot(client) == before


def test_reaping_is_throttled(queue: JobQueue) -> None:
    reap(queue)
    end_lease(queue, "w1")
    assert queue.reap(interval=30, max_crashes=2).workers == 0
    assert reap(queue)[1] == 1


def test_a_victim_is_reaped_whatever_its_lease_and_the_throttle(queue: JobQueue) -> None:
    reap(queue)
    enqueue(queue)
    claim(queue)
    assert queue.reap(interval=30, max_crashes=2, victim="w1").workers == 1
    assert len(ids_in(queue, "suspect")) == 1


def test_all_incarnations_of_a_dead_process_are_buried_and_no_other(queue: JobQueue) -> None:
    join(queue, "host:12:aa", "host:12:bb", "host:123:cc")
    assert queue.bury("host:12", max_crashes=2) == 2
    assert queue.live_workers() == 2


def test_what_a_broken_doorbell_moved_after_the_reaping_is_swept_later(client: redis.Redis, queue: JobQueue) -> None:
    end_lease(queue, "w1")
    reap(queue)
    (job,) = enqueue(queue)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    reap(queue)
    assert ids_in(queue) == [job.id]


def test_what_a_broken_doorbell_moved_after_the_release_is_swept_later(client: redis.Redis, queue: JobQueue) -> None:
    queue.release("w1")
    (job,) = enqueue(queue)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    reap(queue)
    assert ids_in(queue) == [job.id]


@pytest.mark.parametrize("asks", ["claim", "heartbeat"])
def test_what_rings_for_a_worker_that_slept_until_it_was_forgotten_comes_back_once_it_is_fenced(
    client: redis.Redis, queue: JobQueue, asks: str
) -> None:
    reap(queue, victim="w1")
    client.delete(queue.key("gone"))
    (job,) = enqueue(queue)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "RIGHT")
    with pytest.raises(Fenced):
        claim(queue, "w1") if asks == "claim" else queue.heartbeat("w1", 5.0)
    reap(queue)
    assert ids_in(queue) == [job.id]
    assert not client.exists(queue.key("processing:w1"))


def test_the_gone_are_forgotten_after_a_minute(client: redis.Redis, queue: JobQueue) -> None:
    queue.release("w1")
    seconds, _ = client.time()
    client.zadd(queue.key("gone"), {"w1": (seconds - 61) * 1000})
    reap(queue)
    assert not client.exists(queue.key("gone"))


def test_a_result_that_came_meanwhile_keeps_a_suspect_from_being_computed_again(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    queue.cancel(job.id)
    end_lease(queue, "w1")
    reap(queue)
    join(queue, "w2")
    assert claim(queue, "w2") == []
    assert ids_in(queue, "suspect") == []
