"""enqueue.lua: by the measured drain rate, which jobs would be answered too late, or wait behind too many."""

from __future__ import annotations

import pytest
import redis

from imagequeue.backlog import Backlog
from imagequeue.errors import QueueFull
from imagequeue.jobqueue import JobQueue
from tests.support.jobs import claim, end_lease, join, make_job


@pytest.fixture
def queue(client: redis.Redis) -> JobQueue:
    return JobQueue(client)


class Pace:
    """A queue whose workers compute `a_second` images a second together, in batches of `batch`."""

    def __init__(self, queue: JobQueue, a_second: float, *, workers: int = 1, batch: int = 1) -> None:
        self.queue = queue
        join(queue, *(f"w{number}" for number in range(1, workers + 1)))
        rate = {"busy_jobs": 100, "busy_ms": 100_000 / a_second * workers, "batch_limit": batch}
        queue.client.hset(queue.key("stats"), mapping=rate)

    def send(self, *, timeout: float = 10.0, standing_wait: float = 0.0) -> Backlog:
        job = make_job(reply_to="web-1" if standing_wait else "")
        return self.queue.enqueue(job, timeout=timeout, max_length=1000, standing_wait=standing_wait)

    def sent_until_refused(self, *, timeout: float = 10.0, standing_wait: float = 0.0) -> int:
        for number in range(1000):
            try:
                self.send(timeout=timeout, standing_wait=standing_wait)
            except QueueFull:
                return number
        raise AssertionError("a thousand jobs were accepted")

    def stand_since(self, seconds: float) -> None:
        """As if the queue had been standing for so long."""
        seconds_now, _ = self.queue.client.time()
        self.queue.client.hset(self.queue.key("stats"), "standing_since", int((seconds_now - seconds) * 1000))


def test_as_many_are_accepted_as_will_be_answered_before_their_deadline(queue: JobQueue) -> None:
    assert Pace(queue, 10).sent_until_refused(timeout=5) == 45, "nine tenths of 50: an estimate is not exact"


def test_with_a_longer_timeout_more_are_accepted(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    assert pace.sent_until_refused(timeout=1) == 9
    assert pace.sent_until_refused(timeout=2) == 9


def test_two_workers_are_trusted_with_twice_as_many_and_one_that_has_gone_with_none(queue: JobQueue) -> None:
    pace = Pace(queue, 20, workers=2)
    assert pace.send().seconds_each == pytest.approx(0.05)
    end_lease(queue, "w2")
    assert pace.send().seconds_each == pytest.approx(0.1)


def test_what_workers_hold_counts_too(queue: JobQueue) -> None:
    pace = Pace(queue, 10, batch=20)
    for _ in range(20):
        pace.send()
    claim(queue, limit=20)
    # All of the batch is still to be computed.
    seconds, microseconds = queue.client.time()
    queue.client.hset(queue.key("stats"), "busy_at", int(seconds * 1000 + microseconds / 1000) + 60_000)
    assert pace.sent_until_refused(timeout=5) == 25


def test_the_last_batch_is_computed_by_one_worker_alone(queue: JobQueue) -> None:
    assert Pace(queue, 40, workers=4, batch=16).sent_until_refused(timeout=4) == 96, "not 144: 1.2 s for the last 16"


def test_a_refusal_for_being_late_says_how_long_the_others_wait(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    pace.sent_until_refused(timeout=5)
    with pytest.raises(QueueFull, match=r"45 images wait, about 4\.5 s") as refused:
        pace.send(timeout=5)
    assert refused.value.retry_after == 5
    assert queue.stats()["refused"] == 2


def test_of_a_model_too_slow_for_any_deadline_one_job_is_accepted_at_a_time(queue: JobQueue) -> None:
    pace = Pace(queue, 0.1)
    assert pace.sent_until_refused(timeout=5) == 1, "else nothing would show that it has become faster"


def test_a_burst_may_wait_up_to_its_deadline(queue: JobQueue) -> None:
    assert Pace(queue, 10).sent_until_refused(timeout=10, standing_wait=1.0) == 90


def test_while_the_queue_stands_few_wait_until_it_has_fallen_to_half_of_that(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    for _ in range(40):
        pace.send(standing_wait=2.0)
    pace.stand_since(seconds=6)
    with pytest.raises(QueueFull):
        pace.send(standing_wait=2.0)
    queue.client.ltrim(queue.name, 0, 14)
    assert pace.sent_until_refused(standing_wait=2.0) == 5, "twenty wait: two seconds"
    queue.client.ltrim(queue.name, 0, 4)
    assert pace.sent_until_refused(standing_wait=2.0) == 85, "a burst again"


def test_a_standing_queue_is_long_enough_for_full_batches(queue: JobQueue) -> None:
    pace = Pace(queue, 10, batch=16)
    for _ in range(40):
        pace.send(standing_wait=1.0)
    pace.stand_since(seconds=6)
    queue.client.ltrim(queue.name, 0, 20)
    assert pace.sent_until_refused(standing_wait=1.0) == 11, "32 wait: one batch to compute and one after it"


def test_the_longer_the_clients_wait_the_longer_the_queue_may_stand(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    for timeout, expected in ((30, 30), (300, 300)):
        for _ in range(int(expected * 1.5)):
            queue.enqueue(make_job(), timeout=1000, max_length=1000, standing_wait=900)
        pace.stand_since(seconds=6)
        with pytest.raises(QueueFull):
            queue.enqueue(make_job(), timeout=timeout, max_length=1000)
        queue.client.ltrim(queue.name, 0, expected - 2)
        queue.enqueue(make_job(), timeout=timeout, max_length=1000)
        queue.client.delete(queue.name)


def test_a_job_that_nobody_waits_for_may_wait_as_long_as_it_has_time(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    pace.stand_since(seconds=60)
    assert pace.sent_until_refused(timeout=10, standing_wait=0.0) == 90


def test_jobs_that_nobody_waits_for_delay_none_of_the_others(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    for _ in range(80):
        pace.send(standing_wait=0.0)
    assert pace.sent_until_refused(timeout=10, standing_wait=2.0) == 89, "one of the others was first"


def test_single_images_of_late_do_not_make_a_queue_of_full_batches_seem_slow(queue: JobQueue) -> None:
    pace = Pace(queue, 2, batch=32)
    queue.client.hset(queue.key("stats"), mapping={"busy_batches": 100, "full_ms": 31.25})
    assert pace.send().seconds_each == pytest.approx(0.03125)
    queue.client.hset(queue.key("stats"), "busy_batches", 5)
    assert pace.send().seconds_each == pytest.approx(0.5), "as measured: they were full"


def test_cancelled_jobs_make_room_where_their_number_would_make_others_late(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    sent = [make_job() for _ in range(45)]
    for job in sent:
        queue.enqueue(job, timeout=5, max_length=1000)
    with pytest.raises(QueueFull):
        pace.send(timeout=5)
    queue.cancel_all([job.id for job in sent[:1]])
    queue.client.delete(queue.key("dropping"))
    pace.send(timeout=5)


def test_rates_of_the_wrong_kind_refuse_nobody(queue: JobQueue) -> None:
    pace = Pace(queue, 10)
    queue.client.hset(queue.key("stats"), mapping={"busy_jobs": "many", "batch_limit": "x", "standing_since": "never"})
    assert pace.send() == Backlog(1, 0.0)
