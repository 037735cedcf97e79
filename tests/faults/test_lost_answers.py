"""Redis obeyed, and nobody heard of it: each script's answer lost on its way, and each command before it arrives."""

from __future__ import annotations

import signal

import pytest

from imagequeue.client import Answer
from tests.faults.conftest import MakeCase
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.proxy import script, transaction, word
from tests.support.system import eventually

IMAGES = [picture(number) for number in range(12)]
MATCHES = {
    "the doorbell": word("BLMOVE"),
    "enqueue": transaction(),
    **{verb: script(verb) for verb in ("claim", "complete", "fail", "heartbeat", "reap")},
}


@pytest.mark.parametrize("what", ["the doorbell", "enqueue", "claim", "complete", "heartbeat", "reap"])
def test_when_answers_are_lost_the_repeat_changes_nothing(make_case: MakeCase, what: str) -> None:
    case = make_case(through_proxy=True).start()
    # Each script is known to Redis by then, so that what is lost is its answer and not a NOSCRIPT.
    case.history.send([picture(1000)])
    # Every other one, so that the repeat's answer comes through.
    rule = case.proxy.lose_answer(MATCHES[what], times=3, every=2)
    case.history.send(IMAGES, connections=1)
    eventually(lambda: rule.happened == 3)
    # The last of the three may have been on the last image's way.
    assert all(isinstance(outcome, Answer) for outcome in case.history.send([picture(1001)]))
    case.history.check()
    claims = [line for line in case.system.workers[0].lines("claimed") if line["attempt"] != "1"]
    assert not claims, "an attempt is counted once for each token"


@pytest.mark.parametrize("what", ["the doorbell", "enqueue", "claim", "complete"])
def test_when_commands_are_lost_on_their_way_nothing_else_is(make_case: MakeCase, what: str) -> None:
    case = make_case(through_proxy=True).start()
    rule = case.proxy.lose_command(MATCHES[what], nth=2, times=3)
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES, connections=4))
    eventually(lambda: rule.happened == 3)
    case.history.check()


def test_an_enqueue_of_which_no_answer_ever_comes_is_refused_and_not_computed(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True, LEASE_SECONDS=30).start()
    worker, web = case.system.workers[0], case.system.webs[0]
    case.history.send([picture(1000)])
    worker.signal(signal.SIGSTOP)
    # The one that its bell brings it while it stands still; the next one waits.
    held = case.history.start([picture(1001)])
    eventually(lambda: len(web.lines("enqueued")) == 2)
    # The command and its one repeat are both obeyed and both unheard.
    rule = case.proxy.lose_answer(transaction(), times=2)
    (refusal,) = case.history.send([picture(1002)])
    assert getattr(refusal, "code", "") == "redis_down"
    assert rule.happened == 2
    (refused,) = (line["job"] for line in web.lines("answered") if "error" in line)
    with case.server.client() as client:
        eventually(lambda: client.exists(f"{{image_queue}}:result:{refused}"), what="cancelled")
    worker.signal(signal.SIGCONT)
    assert isinstance(*held.join(), Answer)
    assert isinstance(*case.history.send([picture(1003)]), Answer)
    case.history.check(refusals=["redis_down"])
    computed = {line["job"] for line in worker.lines("claimed")}
    assert refused not in computed, "the work of a client that was refused is not done"
    assert len(computed) == 3


def test_a_failed_image_whose_burial_is_unheard_is_buried_once(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True)
    poison = null_label(picture(1)).removeprefix("null_")
    case.system.settings["TEST_FAULTS"] = f"raise={poison}"
    case.start()
    case.history.send([picture(1)])
    rule = case.proxy.lose_answer(script("fail"))
    case.history.send([picture(1)])
    assert rule.happened == 1
    case.history.check(refusals=["job_failed"])
    with case.server.client() as client:
        assert client.llen("{image_queue}:dead") == 2, "one for each time that it was sent"


def test_slow_answers_are_only_slow(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True).start()
    case.proxy.delay = 0.02
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[:6], connections=6))
    case.history.check()


def test_jobs_whose_claim_was_unheard_while_the_model_was_busy_need_no_bell(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True, TEST_FAULTS="slow=0.4").start()
    worker = case.system.workers[0]
    busy = case.history.start([picture(1)])
    eventually(lambda: len(worker.lines("claimed")) == 1)
    # The claim and its repeat; whatever they moved lies in the worker's list, and nothing else comes.
    rule = case.proxy.lose_answer(script("claim"), times=2)
    assert isinstance(*case.history.send([picture(2)]), Answer)
    assert isinstance(*busy.join(), Answer)
    assert rule.happened == 2
    case.history.check()
