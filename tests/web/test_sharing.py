"""A connection goes to the process that has fewer, unless that does not come."""

from __future__ import annotations

import pytest

from imagequeue.web import sharing
from imagequeue.web.sharing import Sharing


@pytest.fixture(autouse=True)
def _turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "TURN_SECONDS", 0.05)
    # Too long for any machine to pass in a test.
    monkeypatch.setattr(sharing, "NO_TURN_SECONDS", 600.0)


@pytest.mark.parametrize("elsewhere", [None, 4, 5, 9])
def test_a_process_takes_a_connection_unless_a_sibling_has_clearly_fewer(elsewhere: int | None) -> None:
    assert not Sharing(lambda count: elsewhere).leaves(5)


def test_a_connection_is_left_to_a_sibling_until_that_has_as_many() -> None:
    told, elsewhere = [], [3]

    def least(count: int) -> int:
        told.append(count)
        return elsewhere[0]

    process = Sharing(least)
    assert process.leaves(5)
    elsewhere[0] = 4
    assert not process.leaves(5)
    assert told == [5, 5], "the sibling hears how many are here"


def test_a_sibling_that_does_not_come_is_waited_for_once_and_not_again_for_a_while() -> None:
    process = Sharing(lambda count: 0)
    looks = 1
    while process.leaves(5):
        looks += 1
    assert looks > 1
    assert not process.leaves(5)


def test_the_loop_does_not_wait_while_a_connection_is_left_and_begins_again_when_it_was_taken() -> None:
    process = Sharing(lambda count: 0)
    assert not process.begin_round()
    assert process.leaves(5)
    process.end_round()
    assert process.begin_round()
    process.end_round()
    assert not process.begin_round()
    assert process.leaves(5), "the next one has its own time"


def test_siblings_are_told_of_changes_only() -> None:
    told: list[int] = []
    process = Sharing(lambda count: told.append(count))
    for count in (3, 3, 4):
        process.tell(count)
    assert told == [3, 4]
