"""Only a few requests that classify nothing are with threads at a time, and none that waits keeps the others out."""

from __future__ import annotations

import pytest

from imagequeue.web import gate
from imagequeue.web.gate import PLACES, Gate


def test_the_others_wait_in_line_until_one_has_left() -> None:
    it = Gate()
    for number in range(2 * PLACES):
        it.arrive(number, b"%d" % number)
    assert list(it.next()) == [(n, b"%d" % n) for n in range(PLACES)]
    assert not list(it.next())
    assert it.is_anybody_waiting
    it.leave(3)
    it.leave("one that came another way")
    assert [conn for conn, _ in it.next()] == [PLACES]


def test_whoever_is_long_at_it_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(gate.time, "monotonic", lambda: now)
    it = Gate()
    for number in range(2 * PLACES):
        it.arrive(number, b"")
    assert len(list(it.next())) == PLACES
    now += gate.PLACE_SECONDS
    assert len(list(it.next())) == PLACES
    assert not it.is_anybody_waiting
