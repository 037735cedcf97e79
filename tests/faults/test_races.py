"""The same thing done twice at once, by processes whose clocks are an hour off."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from imagequeue.client import Answer
from imagequeue.jobqueue import JobQueue
from tests.faults.conftest import MakeCase
from tests.support.jobs import claim, enqueue, ids_in, join, make_job, make_result
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer

WRONG_CLOCK = Path(__file__).parents[1] / "support" / "wrongclock"
Found = TypeVar("Found")


def at_once(count: int, do: Callable[[int], Found]) -> list[Found]:
    """What `count` threads find who all begin together."""
    found: list[Found] = []
    start = threading.Barrier(count)

    def work(number: int) -> None:
        start.wait()
        found.append(do(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    return found


@pytest.fixture
def queues(each_redis: RedisServer, client: redis.Redis) -> list[JobQueue]:
    """Eight, each with a connection of its own."""
    return [JobQueue(each_redis.client()) for _ in range(8)]


def test_one_job_enqueued_by_many_at_once_is_one_job(queues: list[JobQueue]) -> None:
    for number in range(20):
        job = make_job(number)
        at_once(8, lambda n, job=job: queues[n].enqueue(job, timeout=30, max_length=100, needs_worker=False))
    assert queues[0].depth() == 20
    assert queues[0].stats()["enqueued"] == 20
    assert max(Counter(ids_in(queues[0])).values()) == 1


def test_one_job_completed_by_many_at_once_has_one_result_and_is_published_once(queues: list[JobQueue]) -> None:
    subscription = queues[0].client.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(queues[0].channel("web-1"))
    subscription.get_message(timeout=5)
    join(queues[0], "w1")
    for _ in range(20):
        (job,) = enqueue(queues[0])
        claim(queues[0])
        completed = at_once(
            8, lambda n, job=job: queues[n].complete("w1", "t1", [(job, make_result(job, label=f"label-{n}"))])
        )
        assert sum(one.stored for one in completed) == 1
    messages = []
    while message := subscription.get_message(timeout=0.2):
        messages.append(message["data"])
    assert len(messages) == 20
    assert queues[0].stats()["completed"] == 20


def test_many_workers_that_claim_at_once_share_no_job(queues: list[JobQueue]) -> None:
    join(queues[0], *(f"w{n}" for n in range(8)))
    jobs = enqueue(queues[0], 100)
    claims = at_once(8, lambda n: claim(queues[n], f"w{n}", token=f"t{n}", limit=16))
    assert Counter(job_id for batch in claims for job_id in batch) == Counter(job.id for job in jobs)


def test_many_reapers_at_once_bring_a_dead_workers_jobs_back_once(queues: list[JobQueue]) -> None:
    join(queues[0], "victim")
    jobs = enqueue(queues[0], 10)
    claim(queues[0], "victim", limit=10)
    reaped = at_once(8, lambda n: queues[n].reap(interval=0.001, max_crashes=2, victim="victim"))
    assert sum(one.jobs for one in reaped) == 10
    assert sorted(ids_in(queues[0], "suspect")) == sorted(job.id for job in jobs)
    assert queues[0].stats()["crashes"] == 10


@pytest.mark.parametrize("hour", [3600, -3600])
def test_clocks_that_are_an_hour_off_change_nothing(make_case: MakeCase, hour: int) -> None:
    case = make_case(REQUEST_TIMEOUT=10, PYTHONPATH=WRONG_CLOCK)
    case.system.worker(CLOCK_OFFSET=hour, wait=False)
    case.system.worker(wait=False)
    case.system.web(CLOCK_OFFSET=-hour, wait=False)
    case.start(webs=0, workers=0)
    outcomes = case.history.send([picture(number) for number in range(32)], connections=16)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    wrong, right = (worker.output.split(" ", 1)[0] for worker in case.system.workers)
    assert wrong[:13] != right[:13], "one of them is really wrong"
    assert all(worker.lines("claimed") for worker in case.system.workers)
    assert not any(worker.lines("reaped") for worker in case.system.workers)
    case.history.check()
