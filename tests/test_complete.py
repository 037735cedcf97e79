"""complete.lua, fail.lua and cancelling: one result for each job, stored before it is published."""

from __future__ import annotations

import json

import pytest
import redis

from imagequeue.errors import JobFailed
from imagequeue.job import Job, Result
from imagequeue.jobqueue import MAX_DEAD, JobQueue
from imagequeue.latency import Busy
from tests.support.jobs import (
    claim,
    enqueue,
    fill_memory,
    free_memory,
    ids_in,
    job_hash,
    join,
    make_result,
    reap,
    snapshot,
)


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client, result_ttl=60)
    join(queue, "w1")
    return queue


def stored(queue: JobQueue, job: Job) -> Result | None:
    ((envelope, _),) = queue.look_up([job.id])
    return None if envelope is None else Result.decode(envelope)


def failure(job: Job) -> Result:
    return Result(id=job.id, error=JobFailed("It failed."))


def test_a_result_is_stored_with_a_time_to_live_and_the_job_is_gone(client: redis.Redis, queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    assert queue.complete("w1", "t1", [(job, make_result(job))]).stored == 1
    found = stored(queue, job)
    assert found is not None
    assert found.predictions[0].label == "castle"
    assert 0 < client.pttl(queue.key(f"result:{job.id}")) <= 60_000
    assert job_hash(queue, job) == {}
    assert ids_in(queue, "processing:w1") == []


def test_each_web_process_hears_of_its_own_jobs_after_they_are_stored(client: redis.Redis, queue: JobQueue) -> None:
    (mine,) = enqueue(queue, reply_to="web-1")
    (other,) = enqueue(queue, reply_to="web-2")
    claim(queue)
    with client.pubsub() as listener:
        listener.subscribe(queue.channel("web-1"))
        listener.get_message(timeout=5)
        queue.complete("w1", "t1", [(mine, make_result(mine)), (other, make_result(other))])
        heard = listener.get_message(timeout=5)["data"]
        assert heard == client.get(queue.key(f"result:{mine.id}"))
        assert listener.get_message(timeout=0.05) is None


def test_a_repeated_complete_changes_nothing_and_publishes_nothing(client: redis.Redis, queue: JobQueue) -> None:
    jobs = enqueue(queue, 3)
    claim(queue, limit=2)
    results = [(job, make_result(job)) for job in jobs[:2]]
    assert queue.complete("w1", "t1", results).stored == 2
    claim(queue, token="t2")
    before = snapshot(client)
    with client.pubsub() as listener:
        listener.subscribe(queue.channel("web-1"))
        listener.get_message(timeout=5)
        assert queue.complete("w1", "t1", results).stored == 0
        assert listener.get_message(timeout=0.05) is None
    assert snapshot(client) == before, "the next batch, claimed meanwhile, is untouched"


def test_the_first_result_wins(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    join(queue, "w2")
    claim(queue, "w2", token="t2")
    assert queue.complete("w2", "t2", [(job, make_result(job, "first"))]).stored == 1
    assert queue.complete("w1", "t1", [(job, make_result(job, "second"))]).stored == 0
    found = stored(queue, job)
    assert found is not None
    assert found.predictions[0].label == "first"


def test_a_fenced_workers_result_is_accepted_when_it_is_the_first(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    assert queue.complete("w1", "t1", [(job, make_result(job))]).stored == 1
    join(queue, "w2")
    assert claim(queue, "w2") == [], "the suspect has its result, and is not computed again"


def test_only_the_batch_is_taken_off_the_processing_list(queue: JobQueue) -> None:
    jobs = enqueue(queue, 4)
    claim(queue, token="t1", limit=2)
    claim(queue, token="t2", limit=2, held=2)
    queue.complete("w1", "t1", [(job, make_result(job)) for job in jobs[:2]])
    assert ids_in(queue, "processing:w1") == [job.id for job in jobs[2:]]


def test_jobs_out_of_order_are_found_wherever_they_are(queue: JobQueue) -> None:
    jobs = enqueue(queue, 4)
    claim(queue)
    queue.complete("w1", "t1", [(jobs[2], make_result(jobs[2])), (jobs[1], make_result(jobs[1]))])
    assert ids_in(queue, "processing:w1") == [jobs[0].id, jobs[3].id]


def test_a_document_that_is_not_of_the_batch_is_never_cut_off(client: redis.Redis, queue: JobQueue) -> None:
    first, second = enqueue(queue, 2)
    claim(queue, token="t1", limit=1)
    client.lmove(queue.name, queue.key("processing:w1"), "LEFT", "LEFT")
    queue.complete("w1", "t1", [(first, make_result(first))])
    assert ids_in(queue, "processing:w1") == [second.id]


def test_what_lies_between_the_jobs_that_are_brought_stays(queue: JobQueue) -> None:
    jobs = enqueue(queue, 3)
    claim(queue)
    queue.complete("w1", "t1", [(jobs[0], make_result(jobs[0])), (jobs[2], make_result(jobs[2]))])
    assert ids_in(queue, "processing:w1") == [jobs[1].id]


def test_it_tells_how_many_jobs_and_how_many_suspects_wait(queue: JobQueue) -> None:
    enqueue(queue)
    claim(queue)
    reap(queue, victim="w1")
    join(queue, "w2")
    jobs = enqueue(queue, 3)
    queue.client.lmove(queue.name, queue.key("processing:w2"), "LEFT", "RIGHT")
    claim(queue, "w2", token="t2", limit=1)
    completed = queue.complete("w2", "t2", [(jobs[0], make_result(jobs[0]))])
    assert (completed.waiting, completed.suspects) == (2, 1)


def test_a_failed_job_is_answered_and_its_document_kept_with_the_reason(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    assert queue.fail("w1", job.id, job.reply_to, failure(job), "ValueError('x')")
    found = stored(queue, job)
    assert found is not None
    assert isinstance(found.error, JobFailed)
    entry = json.loads(queue.dead()[0])
    assert entry["reason"] == "ValueError('x')"
    assert Job.decode(entry["document"].encode()) == job
    assert ids_in(queue, "processing:w1") == []


def test_a_repeated_fail_keeps_the_document_once(client: redis.Redis, queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    queue.fail("w1", job.id, job.reply_to, failure(job), "x")
    before = snapshot(client)
    assert not queue.fail("w1", job.id, job.reply_to, failure(job), "x")
    assert snapshot(client) == before


def test_the_dead_are_capped(queue: JobQueue) -> None:
    for job in enqueue(queue, MAX_DEAD + 5):
        claim(queue, token=job.id, limit=1)
        queue.fail("w1", job.id, job.reply_to, failure(job), "x")
    assert len(queue.dead()) == MAX_DEAD


def test_cancelling_gives_the_job_up_unless_a_result_was_first(queue: JobQueue) -> None:
    cancelled, done = enqueue(queue, 2)
    assert queue.cancel(cancelled.id) is None
    claim(queue)
    queue.complete("w1", "t1", [(done, make_result(done))])
    envelope = queue.cancel(done.id)
    assert envelope is not None
    assert Result.decode(envelope).predictions[0].label == "castle"


def test_a_cancelled_job_does_not_come_back_to_life_when_its_result_is_forgotten(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    queue.cancel(job.id)
    queue.forget([job.id])
    assert claim(queue) == []


def test_a_result_that_comes_after_the_cancelling_is_late(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    queue.cancel(job.id)
    assert queue.complete("w1", "t1", [(job, make_result(job))]).stored == 0
    assert ids_in(queue, "processing:w1") == []


def test_at_maxmemory_results_are_still_stored(client: redis.Redis, queue: JobQueue) -> None:
    good, bad = enqueue(queue, 2)
    claim(queue)
    fill_memory(client)
    try:
        assert queue.fail("w1", bad.id, bad.reply_to, failure(bad), "x")
        assert queue.complete("w1", "t1", [(good, make_result(good))]).stored == 1
    finally:
        free_memory(client)


def test_forgotten_results_are_deleted(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    queue.complete("w1", "t1", [(job, make_result(job))])
    queue.forget([job.id])
    assert stored(queue, job) is None


def test_the_drain_rate_is_that_of_a_busy_worker(queue: JobQueue) -> None:
    join(queue, "w1")
    jobs = enqueue(queue, 6)
    claim(queue)
    queue.complete("w1", "t1", [(job, make_result(job)) for job in jobs], busy=Busy(0.3, 8))
    stats = queue.stats()
    assert (stats["busy_jobs"], stats["busy_ms"], stats["batch_limit"]) == (6, 300, 8)
    assert stats["completed"] == 6


def test_the_drain_rate_follows_the_latest_batches(client: redis.Redis, queue: JobQueue) -> None:
    join(queue, "w1")
    for number, busy in enumerate([0.1, 0.1, 0.1, 0.9, 0.9]):
        (job,) = enqueue(queue)
        claim(queue, token=f"t{number}")
        # As if it had been three seconds since the last batch.
        client.hincrby(queue.key("stats"), "busy_at", -3000)
        queue.complete("w1", f"t{number}", [(job, make_result(job))], busy=Busy(busy))
    stats = queue.stats()
    assert 0.6 < stats["busy_ms"] / stats["busy_jobs"] / 1000 < 0.9


def test_a_batch_that_came_too_late_for_its_clients_counts_in_the_drain_rate_once(queue: JobQueue) -> None:
    join(queue, "w1")
    (job,) = enqueue(queue)
    claim(queue)
    queue.cancel(job.id)
    for _ in range(2):
        assert queue.complete("w1", "t1", [(job, make_result(job))], busy=Busy(40.0)).stored == 0
    assert (queue.stats()["busy_jobs"], queue.stats()["busy_ms"]) == (1, 40_000)


def test_a_batch_of_which_nothing_is_said_leaves_the_drain_rate_as_it_is(queue: JobQueue) -> None:
    join(queue, "w1")
    for token, busy in (("t1", 0.3), ("t2", 0.0)):
        (job,) = enqueue(queue)
        claim(queue, token=token)
        queue.complete("w1", token, [(job, make_result(job))], busy=Busy(busy))
    assert (queue.stats()["busy_jobs"], queue.stats()["busy_ms"]) == (1, 300)
