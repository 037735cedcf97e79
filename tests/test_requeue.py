"""requeue.lua: an image that was given up waits again, and is among the dead no more."""

from __future__ import annotations

import json

import pytest
import redis

from imagequeue.errors import JobFailed
from imagequeue.job import Job, Result
from imagequeue.jobqueue import JobQueue
from tests.support.jobs import claim, enqueue, fill_memory, free_memory, ids_in, job_hash, join, make_job, snapshot


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    queue = JobQueue(client)
    join(queue, "w1")
    return queue


def give_up(queue: JobQueue, count: int = 1) -> list[Job]:
    jobs = enqueue(queue, count)
    claim(queue, limit=count)
    for job in jobs:
        queue.fail("w1", job.id, job.reply_to, Result(id=job.id, error=JobFailed("x")), "x")
    return jobs


def dead_ids(queue: JobQueue) -> list[str]:
    return [Job.decode(json.loads(entry)["document"].encode()).id for entry in queue.dead()]


def test_the_entry_is_taken_off_and_its_image_waits_with_its_own_deadline(queue: JobQueue) -> None:
    first, second, third = give_up(queue, 3)
    again = make_job(1, "")
    assert queue.requeue(queue.dead()[1], again, timeout=7.5)
    assert dead_ids(queue) == [third.id, first.id]
    assert ids_in(queue) == [again.id]
    held = job_hash(queue, again)
    assert int(held["deadline"]) - int(held["enqueued"]) == 7500
    assert (held["state"], held["attempts"], held["crashes"]) == ("waiting", "0", "0")
    assert claim(queue, token="t2") == [again.id]
    assert second.id not in dead_ids(queue)


def test_a_repeat_changes_nothing_before_or_after_the_answer(client: redis.Redis, queue: JobQueue) -> None:
    give_up(queue)
    (entry,) = queue.dead()
    again = make_job(1, "")
    assert queue.requeue(entry, again, timeout=30)
    before = snapshot(client)
    assert queue.requeue(entry, again, timeout=30)
    assert snapshot(client) == before
    claim(queue, token="t2")
    queue.complete("w1", "t2", [(again, Result(id=again.id))])
    before = snapshot(client)
    assert queue.requeue(entry, again, timeout=30)
    assert snapshot(client) == before


def test_an_entry_that_is_gone_is_not_sent_under_another_id(client: redis.Redis, queue: JobQueue) -> None:
    give_up(queue)
    (entry,) = queue.dead()
    assert queue.requeue(entry, make_job(1, ""), timeout=30)
    before = snapshot(client)
    assert not queue.requeue(entry, make_job(1, ""), timeout=30)
    assert snapshot(client) == before


def test_at_maxmemory_it_goes_on_for_it_takes_no_more_than_it_gives(client: redis.Redis, queue: JobQueue) -> None:
    give_up(queue)
    (entry,) = queue.dead()
    again = make_job(1, "")
    fill_memory(client)
    try:
        assert queue.requeue(entry, again, timeout=30)
    finally:
        free_memory(client)
    assert ids_in(queue) == [again.id]
