"""Readiness fails with its reason, a loop that has stopped ends itself, and a fleet fills its seats again."""

from __future__ import annotations

import os
import signal

import requests

from imagequeue.client import Answer
from tests.faults.conftest import LEASE, MakeCase
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.proxy import word
from tests.support.system import eventually


def test_readyz_fails_for_each_reason_and_says_it_and_recovers(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True).start()
    system = case.system
    system.workers[0].stop()
    eventually(lambda: system.why_not_ready() == "no worker")
    refusal = requests.post(f"{system.url}/predict", files={"image": picture(1)}, timeout=10)
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "no_workers")
    assert int(refusal.headers["Retry-After"]) >= 1
    system.worker()
    eventually(system.is_ready)

    rule = case.proxy.silence_after(word("SUBSCRIBE"), times=1000)
    case.proxy.cut(":waiter")
    eventually(lambda: system.why_not_ready() == "subscription")
    rule.cancel()
    eventually(system.is_ready)

    case.server.kill()
    eventually(lambda: system.why_not_ready() == "redis")
    assert system.is_live(system.url), "whatever Redis does"
    case.server.start()
    eventually(system.is_ready)

    system.webs[0].signal(signal.SIGTERM)
    eventually(lambda: system.why_not_ready() == "draining")


def test_a_worker_whose_loop_has_stopped_loses_its_lease_and_ends_itself(make_case: MakeCase) -> None:
    hung = picture(1)
    case = make_case(TEST_FAULTS=f"hang={null_label(hung).removeprefix('null_')}", LEASE_SECONDS=LEASE / 2).start()
    sending = case.history.start([hung])
    eventually(lambda: case.system.workers[0].lines("fault"))
    eventually(lambda: case.system.why_not_ready() == "no worker", what="its lease ends while its process lives")
    assert case.system.workers[0].wait() == 70
    # Its image is another's now, who is not hurt by it.
    case.system.worker(TEST_FAULTS="")
    assert isinstance(*sending.join(), Answer)
    case.history.check()


def test_a_fleet_starts_each_dead_child_again_with_a_longer_and_longer_pause(make_case: MakeCase) -> None:
    case = make_case()
    # Each child dies of its first image.
    fleet = case.start_fleet(1, TEST_FAULTS="crash=claimed", MAX_CRASHES=4)
    sending = case.history.start([picture(1)])
    eventually(lambda: len(fleet.lines("child_died")) >= 2)
    pauses = [float(line["start_again_in"]) for line in fleet.lines("child_died")]
    assert pauses[1] == 2 * pauses[0]
    assert len({line["child"] for line in fleet.lines("child_started")}) >= 2
    fleet.kill()
    case.system.worker()
    sending.join()
    case.history.check(refusals=["job_failed"])


def test_a_killed_childs_jobs_come_back_before_its_lease_ends(make_case: MakeCase) -> None:
    # The lease is longer than the requests wait, so only the supervisor's burial can be what brings them back.
    case = make_case(LEASE_SECONDS=60, TEST_FAULTS="slow=0.05")
    fleet = case.start_fleet(2)
    sending = case.history.start([picture(number) for number in range(24)], connections=24)
    eventually(lambda: fleet.lines("claimed"))
    victim, _ = fleet.children()
    os.kill(victim, signal.SIGKILL)
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    case.history.check()


def test_a_fleet_that_is_stopped_drains_every_child(make_case: MakeCase) -> None:
    case = make_case(TEST_FAULTS="slow=0.02")
    fleet = case.start_fleet(2)
    sending = case.history.start([picture(number) for number in range(16)], connections=16)
    eventually(lambda: fleet.lines("claimed"))
    case.system.worker()
    fleet.signal(signal.SIGTERM)
    assert fleet.wait() == 0
    assert len(fleet.lines("left")) == 2
    assert all(isinstance(outcome, Answer) for outcome in sending.join())
    with case.server.client() as client:
        assert not client.hget("{image_queue}:stats", "crashes")
    case.history.check()
