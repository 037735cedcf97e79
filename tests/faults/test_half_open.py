"""Connections that stand and carry nothing: noticed by silence, and replaced."""

from __future__ import annotations

import pytest

from imagequeue.client import Answer
from tests.faults.conftest import LEASE, MakeCase
from tests.support.pictures import picture
from tests.support.system import eventually

IMAGES = [picture(number) for number in range(40)]
# Ends of the names that connections give themselves; a web server's command connections end with its process's id.
ROLES = {
    "the subscription": ":waiter",
    "the doorbell": ":doorbell",
    "the worker's commands": ":commands",
    "the heartbeat": ":heartbeat",
}


@pytest.mark.parametrize("role", ROLES)
def test_a_black_hole_on_one_connection_is_noticed_and_the_connection_replaced(make_case: MakeCase, role: str) -> None:
    # Two thirds of it are over before a heartbeat without an answer is repeated.
    lease = 2 * LEASE if role == "the heartbeat" else LEASE
    case = make_case(through_proxy=True, TEST_FAULTS="slow=0.02", LEASE_SECONDS=lease).start()
    case.history.send(IMAGES[:4])
    sending = case.history.start(IMAGES[4:24], connections=4)
    eventually(lambda: sending.answered >= 4)
    (hole,) = case.proxy.silence(ROLES[role])
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    # Its owner has given it up, and has another of the same name.
    eventually(lambda: case.proxy.names().count(hole.name) == 1 and hole.is_cut, what=str(case.proxy.names()))
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[24:28]))
    assert case.system.workers[0].is_running
    case.history.check()


def test_black_holes_on_all_connections_of_a_web_server_are_noticed_and_replaced(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True).start()
    case.history.send(IMAGES[:8], connections=8)
    (pid,) = case.system.webs[0].children()
    assert case.proxy.silence(f":{pid}", ":waiter")
    # Each of the pool's connections has to be found dead once; nobody waits for longer than that.
    outcomes = case.history.send(IMAGES[8:16], connections=8)
    assert {outcome.code for outcome in outcomes if not isinstance(outcome, Answer)} <= {"redis_down"}
    eventually(lambda: case.system.is_ready())
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[16:24], connections=8))
    case.history.check(refusals=["redis_down"])
