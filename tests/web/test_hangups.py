"""Who has hung up is noticed while he waits, and nobody else is taken for gone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from imagequeue.ticket import Ticket
from imagequeue.web.hangups import HangUps
from tests.support.system import eventually

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def hang_ups() -> Iterator[HangUps]:
    hang_ups = HangUps(interval=0.02)
    hang_ups.start()
    yield hang_ups
    hang_ups.stop()


@pytest.fixture
def connect() -> Iterator[Callable[[], Pair]]:
    """Pairs of the client's end and the server's."""
    ends: list[socket.socket] = []

    def make() -> Pair:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            server, _ = listening.accept()
        ends.extend((client, server))
        return client, server

    yield make
    for end in ends:
        end.close()


@pytest.mark.parametrize("hang_up", [lambda client: client.close(), lambda client: client.shutdown(socket.SHUT_WR)])
def test_all_tickets_of_a_client_that_hangs_up_are_abandoned_and_no_others(
    hang_ups: HangUps, connect: Callable[[], Pair], hang_up: Callable[[socket.socket], None]
) -> None:
    (gone, server), (_, other_server) = connect(), connect()
    tickets, others = [Ticket("a"), Ticket("b")], [Ticket("c")]
    with hang_ups.watching(server, tickets), hang_ups.watching(other_server, others):
        assert not tickets[0].wait(0.1), "it is there, and waits"
        hang_up(gone)
        eventually(lambda: all(ticket.wait(0) for ticket in tickets))
        assert not others[0].wait(0.1)


def test_a_client_that_sends_its_next_request_already_is_there(hang_ups: HangUps, connect: Callable[[], Pair]) -> None:
    client, server = connect()
    ticket = Ticket("a")
    with hang_ups.watching(server, [ticket]):
        client.sendall(b"POST /predict HTTP/1.1")
        assert not ticket.wait(0.2)


def test_a_connection_that_is_closed_here_disturbs_nobody(hang_ups: HangUps, connect: Callable[[], Pair]) -> None:
    (_, closed), (gone, server) = connect(), connect()
    ticket = Ticket("a")
    with hang_ups.watching(closed, [Ticket("b")]), hang_ups.watching(server, [ticket]):
        closed.close()
        gone.close()
        eventually(lambda: ticket.wait(0))


def test_without_a_connection_there_is_nothing_to_watch(hang_ups: HangUps) -> None:
    with hang_ups.watching(None, [Ticket("a")]):
        pass
