"""What Gunicorn's loop does with the connections that wait for their next request."""

from __future__ import annotations

import pytest

from imagequeue.web.keptalive import KeptAlive


def test_it_is_a_queue_from_which_any_may_leave() -> None:
    waiting = KeptAlive()
    assert not waiting
    for conn in "abcd":
        waiting.append(conn)
    waiting.remove("b")
    assert (len(waiting), waiting[0], list(waiting)) == (3, "a", ["a", "c", "d"])
    assert waiting.popleft() == "a"
    waiting.append("a")
    assert [waiting.popleft() for _ in range(3)] == ["c", "d", "a"]
    with pytest.raises(IndexError):
        waiting[0]
    with pytest.raises(KeyError):
        waiting.popleft()
