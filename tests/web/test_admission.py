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


class Silent:
    """As much of a connection as is looked at: its client has sent nothing for so many seconds."""

    def __init__(self, door: Admission, seconds: float, *, body_bytes: int = 1) -> None:
        self.waits_since: float | None = time.monotonic() - seconds
        self.is_let_go = False
        self.visit = door.enter(body_bytes)
        self.visit.client = self  # type: ignore[assignment]

    def let_go(self) -> None:
        self.is_let_go = True
        self.visit.__exit__(None, None, None)


def test_those_whose_clients_are_silent_give_their_places_to_others(door: Admission) -> None:
    silent = [Silent(door, 3), Silent(door, 4)]
    assert door.standing_refusal() is None, "there is room to be made"
    with door.enter(1):
        assert all(client.is_let_go for client in silent)


def test_memory_is_given_up_by_whose_client_has_been_silent_longest() -> None:
    door = Admission(max_requests=9, max_bytes=100, max_waiting=10)
    first, second = Silent(door, 3, body_bytes=40), Silent(door, 4, body_bytes=40)
    with door.enter(60):
        assert (first.is_let_go, second.is_let_go) == (False, True)


def test_whose_client_is_sending_keeps_its_place(door: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(admission, "STALL_SECONDS", 60)
    sending = [Silent(door, 1) for _ in range(2)]
    with pytest.raises(ServerBusy):
        door.enter(1)
    assert not any(client.is_let_go for client in sending)


def test_where_all_wait_for_their_answers_the_next_is_refused_at_once(
    door: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "ROOM_SECONDS", 3600)
    for _ in range(2):
        Silent(door, 9).waits_since = None
    assert isinstance(door.standing_refusal(), ServerBusy)
    with pytest.raises(ServerBusy):
        door.enter(1)


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
