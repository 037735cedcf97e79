"""The door of a web process: so many requests, so many undecoded bytes, and a refusal that is remembered shortly."""

from __future__ import annotations

import time

import pytest

from imagequeue.backlog import Backlog
from imagequeue.errors import QueueFull, ServerBusy
from imagequeue.web import admission
from imagequeue.web.admission import Admission
from imagequeue.web.unsent import MAX_UNSENT_BYTES


@pytest.fixture
def door() -> Admission:
    return Admission(max_requests=2, max_bytes=100, max_waiting=10)


def test_as_many_requests_as_allowed_are_inside_and_one_more_when_one_has_left(door: Admission) -> None:
    with door.enter(1):
        with door.enter(1), pytest.raises(ServerBusy):
            door.enter(1)
        with door.enter(1):
            pass


def test_what_a_request_unpacks_to_counts_and_alone_it_may_be_more_than_all_of_the_room(door: Admission) -> None:
    with door.enter(10) as alone:
        alone.hold(150)
        with pytest.raises(ServerBusy):
            door.enter(1)
    with door.enter(10) as first, door.enter(10) as second:
        first.hold(60)
        with pytest.raises(ServerBusy):
            second.hold(60)
        second.hold(40)
        second.hold(5)
    with door.enter(100):
        pass


def test_a_request_that_ends_in_an_error_leaves_too(door: Admission) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), door.enter(90):
            raise ZeroDivisionError


def test_bodies_count_until_they_are_decoded(door: Admission) -> None:
    with door.enter(60) as visit:
        with pytest.raises(ServerBusy):
            door.enter(41)
        visit.decoded()
        with door.enter(100):
            pass
        visit.decoded()
    with door.enter(100):
        pass


def test_a_body_larger_than_all_of_the_room_comes_in_alone(door: Admission) -> None:
    with door.enter(1), pytest.raises(ServerBusy):
        door.enter(1000)
    with door.enter(1000), pytest.raises(ServerBusy):
        door.enter(1)


def test_what_redis_refused_is_refused_at_once_for_a_moment_only(
    door: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(admission.time, "monotonic", lambda: now)
    door.remember(QueueFull("The queue is full.", retry_after=7))
    with pytest.raises(QueueFull) as refused:
        door.enter(1)
    assert (refused.value.message, refused.value.retry_after) == ("The queue is full.", 7)
    monkeypatch.setattr(admission.time, "monotonic", lambda: now + 2 * admission.REFUSAL_SECONDS)
    with door.enter(1):
        pass


def test_a_full_door_is_a_refusal_that_stands(door: Admission) -> None:
    assert door.standing_refusal() is None
    with door.enter(1), door.enter(1):
        assert isinstance(door.standing_refusal(), ServerBusy)
    assert door.standing_refusal() is None


def test_after_a_refusal_there_is_doubt_until_a_job_is_accepted(
    door: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(admission.time, "monotonic", lambda: now)
    assert not door.is_doubtful
    door.remember(QueueFull("The queue is full."))
    now += 2 * admission.REFUSAL_SECONDS
    assert (door.standing_refusal(), door.is_doubtful) == (None, True)
    door.remember(QueueFull("The queue is full."))
    door.accepted(Backlog(3, 0.1))
    assert (door.standing_refusal(), door.is_doubtful) == (None, False)


def test_no_more_may_want_to_come_in_than_there_is_room_for_behind_what_waits_in_redis(
    door: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(admission.time, "monotonic", lambda: now)
    assert door.refusal_behind(10) is None
    assert isinstance(door.refusal_behind(11), QueueFull)
    door.accepted(Backlog(4, 2.0))
    assert door.refusal_behind(6) is None
    refusal = door.refusal_behind(7)
    assert isinstance(refusal, QueueFull)
    assert refusal.retry_after == 20, "ten images at one in two seconds"
    now += 2 * admission.REFUSAL_SECONDS
    # It has drained since, or not: nobody is refused for what Redis said long ago.
    assert door.refusal_behind(10) is None


def test_it_is_told_once_that_the_images_of_a_request_are_on_their_way(door: Admission) -> None:
    told: list[bool] = []
    with door.enter(1) as visit:
        visit.on_decoded = lambda: told.append(True)
        assert not told
        visit.decoded()
        assert told


def test_while_answers_that_were_not_taken_fill_their_room_nobody_comes_in(door: Admission) -> None:
    door.unsent.add(MAX_UNSENT_BYTES)
    with pytest.raises(ServerBusy, match="not taken"):
        door.enter(1)
    door.unsent.add(-1)
    with door.enter(1):
        pass
