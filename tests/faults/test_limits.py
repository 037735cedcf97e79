"""Redis at its limits of memory and of clients, under load: refused fast, and served again without any restart."""

from __future__ import annotations

import time

import redis

from imagequeue.client import Answer
from imagequeue.errors import ImageQueueError
from imagequeue.jobqueue import JobQueue
from tests.faults.conftest import MakeCase
from tests.support.jobs import free_memory
from tests.support.pictures import picture
from tests.support.system import eventually

# By two web servers and two workers on their own account, in a second; 35 were counted.
OWN_KNOCKS = 100


def test_at_maxmemory_new_jobs_are_refused_the_old_ones_drain_and_service_recovers(make_case: MakeCase) -> None:
    case = make_case(TEST_FAULTS="slow=0.05").start()
    worker, web = case.system.workers[0], case.system.webs[0]
    accepted = case.history.start([picture(number) for number in range(24)], connections=24)
    eventually(lambda: len(web.lines("enqueued")) == 24)
    with case.server.client() as client:
        # Far below what it holds, so that draining does not help it.
        client.config_set("maxmemory", "1mb")
        (refused,) = case.history.send([picture(100)])
        assert isinstance(refused, ImageQueueError)
        assert (refused.code, refused.message) == ("redis_down", "Redis has reached its memory limit.")
        assert refused.retry_after >= 1  # type: ignore[attr-defined]
        assert all(isinstance(outcome, Answer) for outcome in accepted.join())
        free_memory(client)
    assert all(isinstance(outcome, Answer) for outcome in case.history.send([picture(n) for n in range(200, 210)]))
    assert worker.is_running
    assert len(worker.lines("joined")) == 1
    case.history.check(refusals=["redis_down"])


def test_at_maxclients_requests_are_refused_without_a_storm_of_connections_and_service_recovers(
    make_case: MakeCase,
) -> None:
    case = make_case(TEST_FAULTS="slow=0.02").start(webs=2, workers=2)
    # Kept open from before, so that it can still ask when nobody else gets in.
    with case.server.client() as client:
        sending = case.history.start([picture(number) for number in range(24)], connections=12)
        eventually(lambda: sending.answered >= 4)
        client.config_set("maxclients", 1)
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)
        # Until the web servers know that Redis is away for longer than a connection takes to be made anew.
        for web in case.system.webs:
            eventually(lambda web=web: len(web.lines("subscription_lost")) >= 7)
        images = [picture(number) for number in range(100, 400)]
        before, started = rejected(client), time.monotonic()
        outcomes = case.history.send(images, connections=30)
        knocks, seconds = rejected(client) - before, time.monotonic() - started
        assert {getattr(outcome, "code", "served") for outcome in outcomes} == {"redis_down"}
        # Of 300 requests that knocked there would be more, however long they took.
        assert knocks < len(outcomes) / 3 + OWN_KNOCKS * seconds
        client.config_set("maxclients", 10_000)
    for url in case.system.urls:
        eventually(lambda url=url: case.system.is_ready(url))
    assert all(script.is_running for script in (*case.system.webs, *case.system.workers))
    assert {getattr(outcome, "code", "served") for outcome in sending.join()} <= {"served", "redis_down", "no_workers"}
    with case.server.client() as client:
        eventually(lambda: JobQueue(client).live_workers() == 2)
    outcomes = case.history.send([picture(number) for number in range(500, 510)])
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    case.history.check(refusals=["redis_down", "no_workers"])


def rejected(client: redis.Redis) -> int:
    return int(client.info("stats")["rejected_connections"])


def test_a_pool_whose_connections_are_all_busy_makes_requests_wait_and_not_fail(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True).start()
    # Each command takes 50 ms, over four connections.
    case.proxy.delay = 0.05
    outcomes = case.history.send([picture(number) for number in range(32)], connections=32)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    case.history.check()
