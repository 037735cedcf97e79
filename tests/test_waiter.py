"""The waiter: a message wakes the one request; what pub/sub loses, the poll finds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from imagequeue import waiter as waiter_module
from imagequeue.connections import connect
from imagequeue.errors import DeadlineExceeded, JobLost, RedisDown
from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from imagequeue.waiter import Waiter
from tests.support.jobs import claim, join, make_job, make_result
from tests.support.redisserver import RedisServer
from tests.support.system import eventually


@pytest.fixture
def queue(each_redis: RedisServer, client: redis.Redis) -> JobQueue:
    queue = JobQueue(connect(each_redis.url, name="web", size=2))
    join(queue, "w1")
    return queue


@pytest.fixture
def make_waiter(each_redis: RedisServer, queue: JobQueue) -> Iterator[Callable[..., Waiter]]:
    waiters: list[Waiter] = []

    def make(poll_interval: float = 0.2) -> Waiter:
        subscription = connect(each_redis.url, name="web:waiter", repeats=0)
        waiter = Waiter(queue, subscription, "web-1", poll_interval=poll_interval, beat=0.5)
        waiters.append(waiter)
        poll, polled = waiter._poll, []

        def poll_and_tell(min_age: float) -> bool:
            is_due = poll(min_age)
            polled.append(min_age)
            return is_due

        waiter._poll = poll_and_tell  # type: ignore[method-assign]
        waiter.start()
        # The poll that follows a subscription is over, too: it must not find what a test is about to hide.
        eventually(lambda: waiter.is_subscribed and 0.0 in polled)
        return waiter

    yield make
    for waiter in waiters:
        waiter.stop()


@pytest.fixture
def heard_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription on which something has been heard just now, at any time: no silence of it calls for a poll."""
    now = property(lambda waiter: time.monotonic(), lambda waiter, heard: None)
    monkeypatch.setattr(Waiter, "_heard", now, raising=False)


def soon() -> float:
    return time.monotonic() + 20


def answer_later(queue: JobQueue, job_id: str) -> threading.Thread:
    """A worker that answers as soon as the job is there."""

    def work() -> None:
        eventually(lambda: queue.depth() == 1)
        (claimed,) = queue.claim("w1", lease_seconds=30, token="t", limit=1)
        job = make_job()
        assert job_id.encode() in claimed.document
        result = make_result(job)
        from dataclasses import replace

        queue.complete("w1", "t", [(replace(job, id=job_id), replace(result, id=job_id))])

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_message_brings_the_result(queue: JobQueue, make_waiter: Callable[..., Waiter]) -> None:
    waiter, job = make_waiter(poll_interval=10), make_job()
    with waiter.expecting(job.id) as ticket:
        thread = answer_later(queue, job.id)
        queue.enqueue(job, timeout=20, max_length=10)
        result = waiter.wait(ticket, soon())
    thread.join()
    assert (result.id, ticket.came_by) == (job.id, "message")


def test_a_result_published_to_nobody_is_found_after_the_next_subscription(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter]
) -> None:
    waiter, job = make_waiter(poll_interval=10), make_job()
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=20, max_length=10)
        # Stored without a word, as if the message had gone to a subscription that was broken just then.
        client.set(queue.key(f"result:{job.id}"), make_result_for(job.id))
        assert not ticket.wait(0.3)
        client.client_kill_filter(_type="pubsub")
        # Not by `waiter.wait`, which looks once more at its deadline.
        assert ticket.wait(20)
    assert ticket.came_by == "poll"


def make_result_for(job_id: str) -> bytes:
    return Result(id=job_id, predictions=make_result(make_job()).predictions).encode()


@pytest.mark.usefixtures("heard_always")
def test_an_id_that_waits_for_long_is_polled_even_if_the_subscription_is_alive(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter_module, "SAFETY_POLLS", 1)
    waiter, job = make_waiter(poll_interval=0.5), make_job()
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=20, max_length=10)
        client.set(queue.key(f"result:{job.id}"), make_result_for(job.id))
        assert ticket.wait(20)
    assert ticket.came_by == "poll"


def test_while_the_subscription_is_alive_nothing_is_polled(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter]
) -> None:
    # So long that a thread without a processor does not make it long.
    waiter, job = make_waiter(poll_interval=1.5), make_job()
    client.config_resetstat()

    def calls(command: str) -> int:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    with waiter.expecting(job.id):
        queue.enqueue(job, timeout=20, max_length=10)
        # The quiet stream is asked instead, every half of the interval.
        eventually(lambda: calls("ping") >= 3)
        assert calls("mget") == 0


def test_at_the_deadline_the_job_is_cancelled_and_no_worker_computes_it(
    queue: JobQueue, make_waiter: Callable[..., Waiter]
) -> None:
    waiter, job = make_waiter(poll_interval=10), make_job()
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=20, max_length=10)
        with pytest.raises(DeadlineExceeded):
            waiter.wait(ticket, time.monotonic() + 0.05)
    assert claim(queue) == []


def test_a_result_that_is_first_at_the_deadline_is_delivered(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter]
) -> None:
    waiter, job = make_waiter(poll_interval=10), make_job()
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=20, max_length=10)
        client.set(queue.key(f"result:{job.id}"), make_result_for(job.id))
        assert waiter.wait(ticket, time.monotonic() + 0.05).id == job.id


def test_a_job_that_redis_forgot_is_told_lost_before_its_deadline(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter]
) -> None:
    waiter, job = make_waiter(poll_interval=0.05), make_job()
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=60, max_length=10)
        ticket.is_enqueued = True
        client.flushall()
        result = waiter.wait(ticket, time.monotonic() + 30)
    assert isinstance(result.error, JobLost)


@pytest.mark.usefixtures("heard_always")
def test_a_poll_that_fails_is_made_up_for(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but the new subscription asks for a poll.
    monkeypatch.setattr(waiter_module, "SAFETY_POLLS", 10**6)
    waiter, job = make_waiter(), make_job()
    asked: list[int] = []
    look_up = queue.look_up

    def look_up_the_second_time(ids: list[str]) -> list[tuple[bytes | None, bool]]:
        asked.append(len(ids))
        if len(asked) == 1:
            raise RedisDown("away")
        return look_up(ids)

    monkeypatch.setattr(queue, "look_up", look_up_the_second_time)
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=20, max_length=10)
        client.set(queue.key(f"result:{job.id}"), make_result_for(job.id))
        client.client_kill_filter(_type="pubsub")
        assert ticket.wait(20)
    assert (ticket.came_by, asked) == ("poll", [1, 1])


@pytest.mark.usefixtures("heard_always")
def test_a_job_that_one_poll_has_missed_is_asked_for_again_although_nothing_else_calls_for_it(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter_module, "SAFETY_POLLS", 10**6)
    waiter, job = make_waiter(), make_job()
    with waiter.expecting(job.id) as ticket:
        queue.enqueue(job, timeout=60, max_length=10)
        ticket.is_enqueued = True
        client.flushall()
        client.client_kill_filter(_type="pubsub")
        result = waiter.wait(ticket, soon())
    assert isinstance(result.error, JobLost)


def test_delivered_results_are_deleted_later_and_together(
    client: redis.Redis, queue: JobQueue, make_waiter: Callable[..., Waiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiter_module, "FORGET_AFTER", 0.05)
    waiter = make_waiter(poll_interval=0.1)
    for _ in range(3):
        job = make_job()
        with waiter.expecting(job.id) as ticket:
            thread = answer_later(queue, job.id)
            queue.enqueue(job, timeout=20, max_length=10)
            waiter.wait(ticket, soon())
            thread.join()
    eventually(lambda: not client.keys("*:result:*"))


def test_many_threads_each_get_their_own_result(queue: JobQueue, make_waiter: Callable[..., Waiter]) -> None:
    waiter = make_waiter()
    jobs = [make_job(n) for n in range(40)]
    found: dict[str, str] = {}

    def request(number: int) -> None:
        with waiter.expecting(jobs[number].id) as ticket:
            queue.enqueue(jobs[number], timeout=20, max_length=100)
            found[jobs[number].id] = waiter.wait(ticket, soon()).predictions[0].label

    threads = [threading.Thread(target=request, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    eventually(lambda: queue.depth() == 40)
    queue.claim("w1", lease_seconds=30, token="t", limit=40)
    queue.complete("w1", "t", [(job, make_result(job, label=f"label-{job.id}")) for job in jobs])
    for thread in threads:
        thread.join()
    assert found == {job.id: f"label-{job.id}" for job in jobs}
