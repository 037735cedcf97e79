"""Orderly ends and rolling restarts, under load: nothing is lost, and every new process has a live subscription."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import redis

from imagequeue.client import Answer
from imagequeue.errors import ImageQueueError
from tests.faults.conftest import Case, MakeCase
from tests.support.pictures import picture
from tests.support.system import eventually

pytestmark = pytest.mark.slow

IMAGES = [picture(number) for number in range(40)]


def subscribed(client: redis.Redis) -> set[int]:
    """The ids of the web processes that Redis knows a subscription of."""
    return {int(c["name"].split(":")[2]) for c in client.client_list(_type="pubsub") if c["name"].endswith(":waiter")}


@pytest.mark.parametrize("point", ["rung:1", "claimed:2", "predicted:2", "completed:2"])
def test_a_worker_told_to_end_at_any_point_hands_back_what_it_has_not_computed(make_case: MakeCase, point: str) -> None:
    case = make_case(TEST_FAULTS="slow=0.01").start()
    leaver = case.system.worker(TEST_FAULTS=f"slow=0.01 crash={point}:TERM")
    sending = case.history.start(IMAGES, connections=12)
    assert leaver.wait() == 0
    assert leaver.lines("left")
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    with case.server.client() as client:
        assert not client.hget("{image_queue}:stats", "crashes"), "nothing had to be reaped"
    case.history.check()


def test_workers_replaced_one_by_one_under_load_cost_no_answer(make_case: MakeCase) -> None:
    case = make_case(TEST_FAULTS="slow=0.03").start(workers=2)
    sending = case.history.start([picture(number) for number in range(100)], connections=16)
    for old in list(case.system.workers):
        eventually(lambda old=old: old.lines("claimed"))
        case.system.worker()
        old.signal(signal.SIGTERM)
        assert old.wait() == 0
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    case.history.check()


def test_a_web_server_told_to_end_fails_readiness_first_serves_what_it_has_and_ends(make_case: MakeCase) -> None:
    case = make_case(TEST_FAULTS="slow=0.1", DRAIN_SECONDS=1).start()
    web = case.system.webs[0]
    sending = case.history.start(IMAGES[:16], connections=16)
    eventually(lambda: len(web.lines("enqueued")) == 16)
    web.signal(signal.SIGTERM)
    eventually(lambda: case.system.why_not_ready() == "draining")
    # It still listens: who has not looked at /readyz yet is served too.
    assert case.system.is_live(case.system.url)
    assert all(isinstance(outcome, Answer) for outcome in case.history.send([picture(500)]))
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    assert web.wait() == 0
    case.history.check()


def test_web_servers_replaced_one_by_one_behind_a_balancer_that_looks_at_readiness_cost_no_answer(
    make_case: MakeCase,
) -> None:
    case = make_case(TEST_FAULTS="slow=0.01").start(webs=2)
    balancer = Balancer(case)
    try:
        for old in list(case.system.webs):
            balancer.wait_for_more(6)
            case.system.web()
            eventually(lambda: case.system.is_ready(case.system.urls[-1]))
            old.signal(signal.SIGTERM)
            assert old.wait() == 0
        balancer.wait_for_more(6)
    finally:
        balancer.stop()
    assert not balancer.failures
    case.history.check()


class Balancer:
    """Sends image after image, each to a server that says it is ready."""

    def __init__(self, case: Case) -> None:
        self.failures: list[object] = []
        self.answered = 0
        self._case = case
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def _send(self, sender: int) -> None:
        number = 10_000 * (sender + 1)
        while not self._stopping.is_set():
            ready = [url for url in list(self._case.system.urls) if self._case.system.is_ready(url)]
            if not ready:
                self.failures.append("no server is ready")
                time.sleep(0.1)
                continue
            number += 1
            (outcome,) = self._case.history.send([picture(number)], urls=[ready[number % len(ready)]])
            if isinstance(outcome, ImageQueueError):
                self.failures.append(outcome)
            self.answered += 1

    def wait_for_more(self, count: int) -> None:
        enough = self.answered + count
        eventually(lambda: self.answered >= enough)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def test_hup_replaces_every_child_and_loses_nothing(make_case: MakeCase) -> None:
    # So slow that requests are in flight long after their neighbours' connections were closed.
    case = make_case(TEST_FAULTS="slow=0.06", MAX_BATCH_SIZE=2, WEB_PROCESSES=2).start()
    web = case.system.webs[0]
    before = set(web.children())
    sending = case.history.start([picture(number) for number in range(60)], connections=20)
    eventually(lambda: sending.answered >= 4)
    web.signal(signal.SIGHUP)
    with case.server.client() as client:
        eventually(lambda: not before & set(web.children()), what="the old children have ended")
        eventually(
            lambda: subscribed(client) == set(web.children()), what="a subscription in every child, and no other"
        )
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    assert len(web.children()) == 2
    case.history.check()


@pytest.mark.parametrize("options", [["--preload"], ["--max-requests", "40"], ["--preload", "--max-requests", "40"]])
def test_gunicorns_own_ways_to_start_and_replace_children_lose_nothing(make_case: MakeCase, options: list[str]) -> None:
    # On a busy machine a shorter interval makes a silence of a moment a lost subscription.
    case = make_case(TEST_FAULTS="slow=0.005", POLL_INTERVAL=1)
    case.system.worker()
    web = case.system.gunicorn("--workers", "2", "--threads", "24", *options)
    first = set(web.children())
    outcomes = case.history.send([picture(number) for number in range(100)], connections=8)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    if "--max-requests" in options:
        eventually(lambda: not first & set(web.children()), what="the first children have had their share and ended")
    by_message = [line for line in web.lines("answered") if line["by"] == "message"]
    assert len(by_message) > len(outcomes) / 2, "the subscriptions live"
    with case.server.client() as client:
        eventually(lambda: subscribed(client) <= set(web.children()))
    case.history.check()


def test_a_killed_gunicorn_child_is_replaced_and_serves(make_case: MakeCase) -> None:
    case = make_case().start()
    web = case.system.webs[0]
    (victim,) = web.children()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: web.children() and web.children() != [victim])
    eventually(case.system.is_ready)
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[:4]))
    case.history.check()
