"""enqueue.lua: accept one job, or say why not."""

from __future__ import annotations

import time

import pytest
import redis

from imagequeue.errors import NoWorkers, QueueFull, RedisDown
from imagequeue.job import Job
from imagequeue.jobqueue import JobQueue
from imagequeue.scripts import Scripts
from tests.support.jobs import (
    claim,
    end_lease,
    enqueue,
    fill_memory,
    free_memory,
    ids_in,
    job_hash,
    join,
    make_job,
    make_result,
    snapshot,
)
from tests.support.system import eventually


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


def test_jobs_that_nobody_waits_for_make_room(queue: JobQueue) -> None:
    gone = make_job()
    queue.enqueue(gone, timeout=20, max_length=1, needs_worker=False)
    queue.cancel_all([gone.id])
    job = make_job()
    queue.enqueue(job, timeout=20, max_length=1, needs_worker=False)
    assert ids_in(queue) == [job.id]


def test_an_accepted_job_waits_as_its_document_in_the_list_named_image_queue(
    client: redis.Redis, queue: JobQueue
) -> None:
    job = make_job(7)
    assert queue.enqueue(job, timeout=5, max_length=10, needs_worker=False).depth == 1
    (document,) = client.lrange("image_queue", 0, -1)
    assert Job.decode(document) == job
    assert job_hash(queue, job)["state"] == "waiting"


def test_the_depth_counts_those_that_wait(queue: JobQueue) -> None:
    backlogs = [queue.enqueue(make_job(n), timeout=5, max_length=10, needs_worker=False) for n in range(3)]
    assert [backlog.depth for backlog in backlogs] == [1, 2, 3]


def test_the_deadline_is_redis_now_plus_the_timeout(client: redis.Redis, queue: JobQueue) -> None:
    seconds, microseconds = client.time()
    (job,) = enqueue(queue, timeout=7.5)
    held = job_hash(queue, job)
    assert int(held["deadline"]) - int(held["enqueued"]) == 7500
    assert abs(int(held["enqueued"]) - (seconds * 1000 + microseconds // 1000)) < 5000


def test_the_same_job_again_is_a_duplicate_and_changes_nothing(client: redis.Redis, queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    before = snapshot(client)
    queue.enqueue(job, timeout=30, max_length=10, needs_worker=False)
    assert snapshot(client) == before


def test_a_job_that_was_answered_is_not_accepted_again(client: redis.Redis, queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    join(queue, "w1")
    claim(queue)
    queue.complete("w1", "t1", [(job, make_result(job))])
    before = snapshot(client)
    queue.enqueue(job, timeout=30, max_length=10, needs_worker=False)
    assert snapshot(client) == before


def test_a_full_queue_refuses_and_leaves_nothing_of_the_job(client: redis.Redis, queue: JobQueue) -> None:
    enqueue(queue, 3)
    job = make_job()
    with pytest.raises(QueueFull, match="3 images wait"):
        queue.enqueue(job, timeout=5, max_length=3, needs_worker=False)
    assert job.id not in ids_in(queue)
    assert not client.exists(queue.key(f"job:{job.id}"))


def test_a_queue_is_full_by_bytes_too(queue: JobQueue) -> None:
    size = len(make_job().encode())
    queue.enqueue(make_job(), timeout=5, max_length=10, max_bytes=2 * size, needs_worker=False)
    queue.enqueue(make_job(), timeout=5, max_length=10, max_bytes=2 * size, needs_worker=False)
    with pytest.raises(QueueFull):
        queue.enqueue(make_job(), timeout=5, max_length=10, max_bytes=2 * size, needs_worker=False)


def test_a_full_queue_first_drops_those_whose_time_has_run_out_and_answers_them(
    client: redis.Redis, queue: JobQueue
) -> None:
    late = enqueue(queue, 2, timeout=0.02)
    alive = enqueue(queue, 1)
    eventually(lambda: _redis_ms(client) > int(job_hash(queue, late[1])["deadline"]))
    with client.pubsub() as listener:
        listener.subscribe(queue.channel("web-1"))
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        fresh = make_job()
        queue.enqueue(fresh, timeout=5, max_length=2, needs_worker=False)
        assert b"deadline_exceeded" in listener.get_message(timeout=5)["data"]
    assert ids_in(queue) == [alive[0].id, fresh.id]
    for job in late:
        assert b"deadline_exceeded" in (client.get(queue.key(f"result:{job.id}")) or b"")
    assert queue.stats()["expired"] == 2


def test_without_a_live_worker_a_job_that_needs_one_is_refused(queue: JobQueue) -> None:
    with pytest.raises(NoWorkers):
        queue.enqueue(make_job(), timeout=5, max_length=10)
    join(queue, "w1")
    queue.enqueue(make_job(), timeout=5, max_length=10)
    end_lease(queue, "w1")
    with pytest.raises(NoWorkers):
        queue.enqueue(make_job(), timeout=5, max_length=10)


def test_at_maxmemory_a_new_job_is_refused_with_the_reason(client: redis.Redis, queue: JobQueue) -> None:
    queue.depth()
    fill_memory(client)
    try:
        with pytest.raises(RedisDown, match="memory limit"):
            queue.enqueue(make_job(), timeout=5, max_length=10, needs_worker=False)
        assert queue.depth() == 0
    finally:
        free_memory(client)
    queue.enqueue(make_job(), timeout=5, max_length=10, needs_worker=False)


def test_retry_after_follows_the_measured_drain_rate(client: redis.Redis, queue: JobQueue) -> None:
    enqueue(queue, 40)
    join(queue, "w1")
    client.hset(queue.key("stats"), mapping={"busy_jobs": 100, "busy_ms": 25_000})
    with pytest.raises(QueueFull) as refused:
        queue.enqueue(make_job(), timeout=5, max_length=40, needs_worker=False)
    assert refused.value.retry_after == 10, "40 images at 4 a second"


def test_every_key_that_holds_a_job_ends_by_itself_or_is_bounded(client: redis.Redis, queue: JobQueue) -> None:
    (job,) = enqueue(queue, timeout=5)
    assert 0 < client.pttl(queue.key(f"job:{job.id}")) <= 305_000


def _redis_ms(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    time.sleep(0.001)
    return seconds * 1000 + microseconds / 1000


def test_a_repeat_leaves_one_document(client: redis.Redis, queue: JobQueue) -> None:
    first, job = make_job(1), make_job(2)
    for sent in (first, job, job, job):
        queue.enqueue(sent, timeout=5, max_length=10, needs_worker=False)
    assert ids_in(queue) == [first.id, job.id]


def test_a_refusal_takes_nobody_elses_document_away(client: redis.Redis, queue: JobQueue) -> None:
    waiting, refused = make_job(1), make_job(2)
    queue.enqueue(waiting, timeout=5, max_length=10, needs_worker=False)
    # As if RPUSH alone had been refused.
    text = Scripts(client).text("enqueue")
    word, *_ = client.eval(text, 1, queue.name, refused.id, 5000, 0, 0, 0, 300_000, 1000)
    assert word == b"FULL"
    assert ids_in(queue) == [waiting.id]


def test_a_redis_that_has_forgotten_its_scripts_takes_a_job_once(client: redis.Redis, queue: JobQueue) -> None:
    client.script_flush()
    job = make_job()
    assert queue.enqueue(job, timeout=5, max_length=10, needs_worker=False).depth == 1
    assert ids_in(queue) == [job.id]
