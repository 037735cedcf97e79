"""Who comes in, who waits, who is turned away, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from imagequeue.errors import QueueFull, RedisDown, Unavailable
from imagequeue.jobqueue import Backlog
from imagequeue.web import doorman
from imagequeue.web.admission import Admission
from imagequeue.web.doorman import Doorman
from imagequeue.web.rebuff import Rebuff

ROOM = 10


class Inside:
    """What the doorman sees of the service, and what he hands out."""

    def __init__(self) -> None:
        self.door = Admission(max_requests=100, max_bytes=100, max_waiting=ROOM)
        self.is_redis_away = False
        self.at_siblings = 0
        self.published = 0
        self.special: set[bytes] = set()

    @property
    def queue(self) -> object:
        if self.is_redis_away:
            raise RedisDown("Redis does not answer.")
        return self

    def rebuff(self, received: bytes, refusal: Unavailable, came: float) -> Rebuff | None:
        return None if received in self.special else Rebuff(refusal.code.encode(), True)

    def publish(self, count: int) -> int:
        self.published = count
        return count + self.at_siblings


@pytest.fixture
def inside() -> Inside:
    return Inside()


@pytest.fixture
def door_man(inside: Inside) -> Doorman:
    service: Any = inside
    return Doorman(service, service, inside.publish)


def come(door_man: Doorman, *numbers: int) -> None:
    connection: Any = None
    for number in numbers:
        door_man.arrive(connection, b"%d" % number)


def let_in(door_man: Doorman) -> list[int]:
    return [int(arrival.received) for arrival, rebuff in door_man.next() if rebuff is None]


def turned_away(door_man: Doorman) -> list[int]:
    return [int(arrival.received) for arrival, rebuff in door_man.next() if rebuff is not None]


def test_a_few_are_on_their_way_and_the_next_one_comes_when_one_has_settled(door_man: Doorman) -> None:
    come(door_man, *range(doorman.ENTERING + 2))
    assert let_in(door_man) == list(range(doorman.ENTERING))
    assert let_in(door_man) == []
    assert door_man.settled(), "somebody waits for it"
    assert let_in(door_man) == [doorman.ENTERING]
    assert door_man.settled()
    assert let_in(door_man) == [doorman.ENTERING + 1]
    assert not door_man.settled()
    assert not door_man.is_anybody_waiting


def test_while_a_refusal_stands_all_hear_it(inside: Inside, door_man: Doorman) -> None:
    come(door_man, *range(8))
    assert len(let_in(door_man)) == doorman.ENTERING
    inside.door.remember(QueueFull("The queue is full."))
    come(door_man, 8)
    assert turned_away(door_man) == list(range(doorman.ENTERING, 9))
    assert inside.published == 0


def test_what_is_special_about_a_request_is_for_a_thread_to_find_out(inside: Inside, door_man: Doorman) -> None:
    inside.special = {b"1"}
    inside.door.remember(QueueFull("The queue is full."))
    come(door_man, 0, 1, 2)
    outcomes = [(arrival.received, rebuff is None) for arrival, rebuff in door_man.next()]
    assert outcomes == [(b"0", False), (b"1", True), (b"2", False)]


def test_without_redis_nobody_comes_in(inside: Inside, door_man: Doorman) -> None:
    inside.is_redis_away = True
    come(door_man, 0, 1)
    assert [rebuff.answer for _, rebuff in door_man.next() if rebuff] == [b"redis_down"] * 2


def test_after_a_refusal_one_finds_out_and_then_the_others_follow(
    inside: Inside, door_man: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.door.remember(QueueFull("The queue is full."))
    monkeypatch.setattr("imagequeue.web.admission.REFUSAL_SECONDS", 0.0)
    come(door_man, *range(6))
    assert let_in(door_man) == [0]
    assert let_in(door_man) == []
    inside.door.accepted(Backlog(0, 0.0))
    assert let_in(door_man) == list(range(1, doorman.ENTERING))


def test_of_more_than_may_wait_the_last_are_turned_away_at_once(inside: Inside, door_man: Doorman) -> None:
    come(door_man, *range(ROOM + 3))
    outcomes = [(int(arrival.received), rebuff is not None) for arrival, rebuff in door_man.next()]
    refused = [number for number, is_refused in outcomes if is_refused]
    assert refused == [ROOM + 2, ROOM + 1, ROOM]
    assert outcomes[:3] == [(number, True) for number in refused], "before the others get in their way"
    assert inside.published == ROOM - doorman.ENTERING


def test_those_who_wait_in_redis_or_at_a_sibling_are_before_them(inside: Inside, door_man: Doorman) -> None:
    inside.at_siblings = 4
    inside.door.accepted(Backlog(3, 0.0))
    come(door_man, *range(6))
    assert turned_away(door_man) == [5, 4, 3]
