"""One job that a thread waits for."""

from __future__ import annotations

from imagequeue.ticket import Ticket


def test_the_first_answer_counts_whoever_brings_it() -> None:
    ticket = Ticket("0" * 32)
    ticket.resolve(b"first", "message")
    ticket.resolve(b"second", "poll")
    assert ticket.wait(0)
    assert (ticket.envelope, ticket.came_by) == (b"first", "message")


def test_whoever_waits_for_an_abandoned_one_is_woken_without_an_answer() -> None:
    ticket = Ticket("0" * 32)
    assert not ticket.wait(0)
    ticket.abandon()
    assert ticket.wait(0)
    assert ticket.envelope is None
