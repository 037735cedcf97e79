"""What a job's id tells later, from the moment it is accepted until its result is forgotten."""

from __future__ import annotations

import pytest
import redis

from imagequeue.errors import Cancelled, DeadlineExceeded, JobFailed, NotFound
from imagequeue.job import Result, new_id
from imagequeue.jobqueue import JobQueue
from imagequeue.jobstate import cancel, look_at
from tests.support.jobs import claim, enqueue, ids_in, join, make_result


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client)
    join(queue, "w1")
    return queue


def test_a_job_waits_is_claimed_and_is_done(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    assert look_at(queue, job.id).state == "waiting"
    claim(queue)
    assert look_at(queue, job.id).state == "claimed"
    queue.complete("w1", "t1", [(job, make_result(job))])
    found = look_at(queue, job.id)
    assert found.state == "done"
    assert found.result is not None
    assert found.result.predictions == make_result(job).predictions


def test_a_job_that_failed_says_why(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    queue.fail("w1", job.id, job.reply_to, Result(id=job.id, error=JobFailed("It broke.")), "x")
    found = look_at(queue, job.id)
    assert found.state == "failed"
    assert found.result is not None
    assert isinstance(found.result.error, JobFailed)


def test_an_id_that_nobody_enqueued_is_not_found_and_leaves_nothing_behind(
    client: redis.Redis, queue: JobQueue
) -> None:
    with pytest.raises(NotFound):
        look_at(queue, new_id())
    with pytest.raises(NotFound):
        cancel(queue, new_id())
    assert client.keys("*:result:*") == []


def test_a_cancelled_job_has_failed_and_is_never_computed(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    for found in (cancel(queue, job.id), look_at(queue, job.id), cancel(queue, job.id)):
        assert found.state == "failed"
        assert found.result is not None
        assert isinstance(found.result.error, Cancelled)
    assert claim(queue) == []
    assert ids_in(queue) == []


def test_a_result_that_comes_after_the_cancelling_is_dropped(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    cancel(queue, job.id)
    assert queue.complete("w1", "t1", [(job, make_result(job))]).stored == 0
    assert look_at(queue, job.id).state == "failed"


def test_cancelling_what_is_done_changes_nothing(queue: JobQueue) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    queue.complete("w1", "t1", [(job, make_result(job))])
    assert cancel(queue, job.id).state == "done"
    assert (look_at(queue, job.id).result or Result(job.id)).predictions == make_result(job).predictions


def test_a_result_that_is_stored_between_the_look_and_the_cancelling_is_what_cancelling_finds(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = enqueue(queue)
    claim(queue)
    give_up = queue.cancel

    def complete_first(*arguments: object) -> bytes | None:
        queue.complete("w1", "t1", [(job, make_result(job))])
        return give_up(*arguments)

    monkeypatch.setattr(queue, "cancel", complete_first)
    assert cancel(queue, job.id).state == "done"


def test_a_job_whose_deadline_passed_in_the_queue_has_failed_though_no_worker_came(
    client: redis.Redis, queue: JobQueue
) -> None:
    (job,) = enqueue(queue)
    client.hset(queue.key(f"job:{job.id}"), "deadline", 1)
    found = look_at(queue, job.id)
    assert found.state == "failed"
    assert found.result is not None
    assert isinstance(found.result.error, DeadlineExceeded)
    assert claim(queue) == []
