"""Pub/sub is a shortcut: whatever it loses, the poll finds."""

from __future__ import annotations

import pytest

from imagequeue.client import Answer
from tests.faults.conftest import REQUEST_TIMEOUT, MakeCase
from tests.support.pictures import picture
from tests.support.proxy import script, word
from tests.support.system import eventually

IMAGES = [picture(number) for number in range(40)]


def ways(case_outputs: list[dict[str, str]]) -> set[str]:
    return {line["by"] for line in case_outputs if "by" in line}


def test_a_subscription_killed_again_and_again_while_results_are_published_costs_no_answer(
    make_case: MakeCase,
) -> None:
    case = make_case(TEST_FAULTS="slow=0.02").start(webs=2, workers=2)
    sending = case.history.start(IMAGES, connections=16)
    killed = 0
    with case.server.client() as client:

        def standing() -> int:
            return sum(one["name"].endswith(":waiter") for one in client.client_list(_type="pubsub"))

        while sending.answered < len(IMAGES):
            # As soon as both stand again, and never before: that may take a second on a busy machine.
            eventually(lambda: standing() == 2)
            killed += int(client.client_kill_filter(_type="pubsub"))
    assert [outcome for outcome in sending.join() if not isinstance(outcome, Answer)] == []
    assert killed > 2
    case.history.check()


def test_a_subscription_whose_output_buffer_is_overrun_by_the_very_message_is_answered_by_the_poll(
    make_case: MakeCase,
) -> None:
    # A thousand predictions are more than the buffer that each connection has anyhow.
    case = make_case().start()
    with case.server.client() as client:
        client.config_set("client-output-buffer-limit", "pubsub 1024 0 0")
        outcomes = case.history.send(IMAGES[:10], connections=2, top=1000)
        assert all(isinstance(outcome, Answer) for outcome in outcomes)
        client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")
    web = case.system.webs[0]
    assert web.lines("subscription_lost")
    assert "poll" in ways(web.lines("answered"))
    case.history.check()


# After a cut only the poll that follows a new subscription can be in time: the next is ten intervals away.
@pytest.mark.parametrize(("kind", "interval"), [("cut", 5), ("silent", 0.2)])
def test_results_published_to_a_dead_subscription_are_found_by_the_poll(
    make_case: MakeCase, kind: str, interval: float
) -> None:
    case = make_case(through_proxy=True, POLL_INTERVAL=interval).start()
    fail = case.proxy.cut if kind == "cut" else case.proxy.silence
    # At the very moment of publishing.
    rule = case.proxy.before(script("complete"), lambda: fail(":waiter"))
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[:8], connections=8))
    assert rule.happened == 1
    answered = case.system.webs[0].lines("answered")
    assert "poll" in ways(answered)
    # At its deadline a request looks for its result once more, and would be served so late.
    assert max(float(line["ms"]) for line in answered) < 1000 * REQUEST_TIMEOUT / 2
    eventually(lambda: case.system.is_ready(), what="there is a subscription again")
    case.history.check()


def test_a_message_that_is_lost_on_a_living_subscription_is_found_by_the_poll(make_case: MakeCase) -> None:
    case = make_case(through_proxy=True, POLL_INTERVAL=1)
    case.system.worker()
    # Not after ten intervals, which may not be short here: a busy machine would make them a silence.
    case.system.web_with("imagequeue.waiter.SAFETY_POLLS = 1")
    case.proxy.lose_messages = True
    assert all(isinstance(outcome, Answer) for outcome in case.history.send(IMAGES[:4], connections=4))
    web = case.system.webs[0]
    answered = web.lines("answered")
    assert ways(answered) == {"poll"}
    assert max(float(line["ms"]) for line in answered) < 1000 * REQUEST_TIMEOUT / 2, "and not at the deadline"
    assert not web.lines("subscription_lost")
    case.proxy.lose_messages = False
    case.history.check()


def test_without_a_subscription_everything_is_answered_by_the_poll_and_readiness_says_why(
    make_case: MakeCase,
) -> None:
    case = make_case(through_proxy=True).start()
    rule = case.proxy.silence_after(word("SUBSCRIBE"), times=1000)
    case.proxy.cut(":waiter")
    eventually(lambda: case.system.why_not_ready() == "subscription")
    outcomes = case.history.send(IMAGES[:4], connections=4)
    assert all(isinstance(outcome, Answer) or outcome.code == "redis_down" for outcome in outcomes)
    rule.cancel()
    eventually(lambda: case.system.is_ready())
    case.history.send(IMAGES[4:8])
    case.history.check(refusals=["redis_down"])
