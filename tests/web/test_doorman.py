"""Who comes in, who waits, who is turned away, and in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imagequeue.backlog import Backlog
from imagequeue.errors import QueueFull, RedisDown, Unavailable
from imagequeue.web import admission, doorman
from imagequeue.web.admission import Admission
from imagequeue.web.doorman import Arrival, Doorman
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
        self.decoders = SimpleNamespace(size=2)
        self.timeout = 30.0

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


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, by which the doorman and the door go; it stands still unless a test moves its `now`."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(doorman, "time", clock)
    monkeypatch.setattr(admission, "time", clock)
    return clock


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
    return numbers(enter(door_man))


def enter(door_man: Doorman) -> list[Arrival]:
    return [arrival for arrival, refusal, _ in door_man.next() if refusal is None]


def numbers(arrivals: list[Arrival]) -> list[int]:
    return [int(arrival.received) for arrival in arrivals]


def turned_away(door_man: Doorman) -> list[int]:
    return [int(arrival.received) for arrival, _, rebuff in door_man.next() if rebuff is not None]


def test_a_few_are_on_their_way_and_the_next_one_comes_when_one_has_settled(door_man: Doorman) -> None:
    come(door_man, *range(doorman.ENTERING + 2))
    first = enter(door_man)
    assert numbers(first) == list(range(doorman.ENTERING))
    assert let_in(door_man) == []
    assert door_man.settled(first[0]), "somebody waits for it"
    assert let_in(door_man) == [doorman.ENTERING]
    assert door_man.settled(first[1])
    assert let_in(door_man) == [doorman.ENTERING + 1]
    assert not door_man.settled(first[2])
    assert not door_man.is_anybody_waiting


def test_where_more_can_decode_more_are_on_their_way(inside: Inside) -> None:
    service: Any = inside
    inside.decoders.size = 8
    door_man = Doorman(service, service, inside.publish)
    come(door_man, *range(ROOM))
    assert let_in(door_man) == list(range(8))


def test_whoever_takes_long_on_his_way_keeps_nobody_else_out(door_man: Doorman, clock: SimpleNamespace) -> None:
    come(door_man, *range(doorman.ENTERING + 1))
    let_in(door_man)
    clock.now += 0.9 * doorman.PLACE_SECONDS
    assert let_in(door_man) == []
    clock.now += 0.2 * doorman.PLACE_SECONDS
    assert let_in(door_man) == [doorman.ENTERING]


def test_those_who_take_long_keep_the_others_out_when_they_are_as_many_again(
    door_man: Doorman, clock: SimpleNamespace
) -> None:
    come(door_man, *range(3 * doorman.ENTERING))
    for crowd in range(2):
        first = crowd * doorman.ENTERING
        assert let_in(door_man) == list(range(first, first + doorman.ENTERING))
        clock.now += 2 * doorman.PLACE_SECONDS
    assert let_in(door_man) == []


def test_whose_time_is_over_before_he_comes_in_is_told_so(
    inside: Inside, door_man: Doorman, clock: SimpleNamespace
) -> None:
    come(door_man, 0, 1)
    clock.now += inside.timeout
    outcomes = [rebuff.answer for _, _, rebuff in door_man.next() if rebuff]
    assert outcomes == [b"server_busy"] * 2


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
    outcomes = [(arrival.received, rebuff is None, refusal) for arrival, refusal, rebuff in door_man.next()]
    assert [outcome[:2] for outcome in outcomes] == [(b"0", False), (b"1", True), (b"2", False)]
    assert all(isinstance(refusal, QueueFull) for *_, refusal in outcomes), "the thread is told, too"


def test_without_redis_nobody_comes_in(inside: Inside, door_man: Doorman) -> None:
    inside.is_redis_away = True
    come(door_man, 0, 1)
    assert [rebuff.answer for _, _, rebuff in door_man.next() if rebuff] == [b"redis_down"] * 2


def test_after_a_refusal_one_finds_out_and_then_the_others_follow(
    inside: Inside, door_man: Doorman, clock: SimpleNamespace
) -> None:
    inside.door.remember(QueueFull("The queue is full."))
    clock.now += 2 * admission.REFUSAL_SECONDS
    come(door_man, *range(6))
    assert let_in(door_man) == [0]
    assert let_in(door_man) == []
    inside.door.accepted(Backlog(0, 0.0))
    assert let_in(door_man) == list(range(1, doorman.ENTERING))


def test_of_more_than_may_wait_the_last_are_turned_away_at_once(inside: Inside, door_man: Doorman) -> None:
    come(door_man, *range(ROOM + 3))
    outcomes = [(int(arrival.received), rebuff is not None) for arrival, _, rebuff in door_man.next()]
    refused = [number for number, is_refused in outcomes if is_refused]
    assert refused == [ROOM + 2, ROOM + 1, ROOM]
    assert outcomes[:3] == [(number, True) for number in refused], "before the others get in their way"
    assert inside.published == ROOM - doorman.ENTERING


def test_those_who_wait_in_redis_or_at_a_sibling_are_before_them(inside: Inside, door_man: Doorman) -> None:
    inside.at_siblings = 4
    inside.door.accepted(Backlog(3, 0.0))
    come(door_man, *range(6))
    assert turned_away(door_man) == [5, 4, 3]


def test_of_one_client_alone_who_sends_one_after_the_other_nobody_is_too_many(
    inside: Inside, door_man: Doorman
) -> None:
    # Redis has counted the job itself, which a worker takes at the same moment.
    inside.door.accepted(Backlog(ROOM, 0.0))
    come(door_man, 0)
    assert let_in(door_man) == [0]


@pytest.mark.parametrize(("room", "places"), [(10, doorman.ENTERING), (320, 10), (3200, doorman.MOST_CROWD // 32)])
def test_the_longer_the_queue_may_be_the_more_are_on_their_way_at_a_time(
    inside: Inside, room: int, places: int
) -> None:
    inside.door = Admission(max_requests=10_000, max_bytes=100, max_waiting=room)
    service: Any = inside
    door_man = Doorman(service, service, inside.publish)
    # No more than the queue has room for, so that nobody is refused.
    come(door_man, *range(room))
    assert let_in(door_man) == list(range(places))
