"""What is left to do on a connection once its request is answered: the loop does it, and never for long."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import Mock

import pytest

from imagequeue.web import pacedsocket, tails
from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.tails import LINGER_SECONDS, Tails
from imagequeue.web.unsent import UnsentAnswers

ANSWER = bytes(range(256)) * 20_000


class Loop:
    """An event loop of nothing but tails; `kept` and `dropped` are the connections that have left them."""

    def __init__(self, max_bytes: int = 10**9) -> None:
        self.account = UnsentAnswers(max_bytes)
        self.poller = selectors.DefaultSelector()
        self.kept: list[Mock] = []
        self.dropped: list[Mock] = []
        self.tails = Tails(self.poller, self.account, keep=self.kept.append, drop=self._drop)
        self._open = ExitStack()
        self._open.callback(self.poller.close)

    def _drop(self, conn: Mock) -> None:
        conn.sock.close()
        self.dropped.append(conn)

    def connection(self) -> tuple[Mock, socket.socket]:
        listener = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        far = self._open.enter_context(socket.create_connection(listener.getsockname()))
        far.settimeout(20)
        conn = Mock(sock=PacedSocket.over(listener.accept()[0], self.account))
        conn.sock.restart()
        self._open.callback(conn.sock.close)
        return conn, far

    def turn(self) -> None:
        for key, _ in self.poller.select(0.05):
            key.data(key.fileobj)

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def answered(loop: Loop, answer: bytes, *, kept: bool, unread: int | None = 0) -> tuple[Mock, socket.socket]:
    conn, far = loop.connection()
    conn.sock.sendall(answer)
    conn.sock.unread = unread
    loop.tails.add(conn, kept=kept)
    return conn, far


def test_a_connection_that_has_taken_all_is_kept_at_once(loop: Loop) -> None:
    conn, far = answered(loop, b"answer", kept=True)
    assert loop.kept == [conn]
    assert far.recv(100) == b"answer"


def test_the_rest_of_an_answer_goes_out_as_it_is_taken_and_then_the_connection_is_kept(loop: Loop) -> None:
    conn, far = answered(loop, ANSWER, kept=True)
    assert not loop.kept
    got = bytearray()
    while len(got) < len(ANSWER):
        got += far.recv(2**20)
        loop.turn()
    assert bytes(got) == ANSWER
    while not loop.kept:
        loop.turn()
    assert loop.kept == [conn]
    assert loop.account.bytes == 0


def test_an_answer_that_is_sipped_has_its_time_in_all_and_is_cut_off(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(tails.time, "monotonic", lambda: now)
    conn, far = answered(loop, ANSWER, kept=True)
    for _ in range(10):
        far.recv(1000)
        loop.turn()
        now += pacedsocket.SEND_SECONDS / 10.5
        loop.tails.sweep(now)
        assert not loop.dropped
    now += pacedsocket.SEND_SECONDS / 10
    loop.tails.sweep(now)
    assert loop.dropped == [conn]
    assert loop.account.bytes == 0
    # The kernel keeps nothing for it either.
    with pytest.raises(ConnectionResetError):
        list(iter(lambda: far.recv(2**20), b""))


def test_what_comes_of_a_body_that_nobody_needs_is_thrown_away_and_the_next_request_is_not(loop: Loop) -> None:
    conn, far = answered(loop, b"answer", kept=True, unread=100_000)
    assert not loop.kept
    far.sendall(bytes(100_000) + b"GET /next")
    while not loop.kept:
        loop.turn()
    assert conn.sock.recv_waiting(100) == b"GET /next"


def test_a_body_that_trickles_is_taken_for_a_while_whatever_comes_of_it(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(tails.time, "monotonic", lambda: now)
    conn, far = answered(loop, b"answer", kept=True, unread=100_000)
    for _ in range(4):
        far.sendall(b"x")
        loop.turn()
        now += LINGER_SECONDS / 5
        loop.tails.sweep(now)
        assert not loop.dropped
    now += LINGER_SECONDS / 4
    loop.tails.sweep(now)
    assert loop.dropped == [conn]


def test_a_body_that_nobody_needs_is_taken_up_to_a_bound(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MAX_DISCARDED", 1000)
    conn, far = answered(loop, b"answer", kept=True, unread=100_000)
    far.sendall(bytes(1000))
    loop.turn()
    assert not loop.dropped
    far.sendall(b"x")
    while not loop.dropped:
        loop.turn()
    assert loop.dropped == [conn]


def test_a_client_that_sends_all_before_it_takes_anything_gets_its_answer(loop: Loop) -> None:
    conn, far = answered(loop, ANSWER, kept=True, unread=len(ANSWER))
    far.setblocking(False)
    left = memoryview(ANSWER)
    while left:
        try:
            left = left[far.send(left) :]
        except BlockingIOError:
            loop.turn()
    got = bytearray()
    far.settimeout(20)
    while len(got) < len(ANSWER):
        got += far.recv(2**20)
        loop.turn()
    while not loop.kept:
        loop.turn()
    assert (bytes(got), loop.kept) == (ANSWER, [conn])


def test_a_connections_end_is_told_to_its_client_and_waited_for(loop: Loop) -> None:
    conn, far = answered(loop, b"answer", kept=False, unread=None)
    far.sendall(b"what was on its way")
    loop.turn()
    assert not loop.dropped
    assert far.recv(100) == b"answer"
    assert far.recv(100) == b""
    far.close()
    while not loop.dropped:
        loop.turn()
    assert loop.dropped == [conn]


def test_of_more_that_linger_than_may_the_oldest_goes_and_is_not_read_any_more(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "MAX_LINGERING", 1)
    oldest, far = answered(loop, b"answer", kept=False, unread=None)
    far.sendall(b"more")
    [(key, _)] = loop.poller.select(9)
    answered(loop, b"answer", kept=False, unread=None)
    assert loop.dropped == [oldest]
    key.data(key.fileobj)
    assert loop.dropped == [oldest]


def test_where_all_hold_too_much_those_that_hold_most_are_cut_off_until_half_is_free(loop: Loop) -> None:
    few, _ = answered(loop, ANSWER, kept=True)
    most, _ = answered(loop, 5 * ANSWER, kept=True)
    none, _ = answered(loop, b"answer", kept=False, unread=None)
    more, _ = answered(loop, 4 * ANSWER, kept=True)
    assert not loop.dropped
    loop.account._max_bytes = loop.account.bytes + 1
    comer, _ = answered(loop, 2 * ANSWER, kept=True)
    assert loop.dropped == [most, more]
    assert loop.account.bytes == few.sock.unsent_bytes + comer.sock.unsent_bytes
    assert none not in loop.dropped


def test_a_crowd_whose_time_is_over_goes_in_parts(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MAX_DROPPED", 2)
    for _ in range(3):
        answered(loop, b"answer", kept=False, unread=None)
    later = time.monotonic() + LINGER_SECONDS + 1
    loop.tails.sweep(later)
    assert len(loop.dropped) == 2
    loop.tails.sweep(later)
    assert len(loop.dropped) == 3


def test_a_server_that_ends_lingers_for_no_longer_than_for_a_request(loop: Loop) -> None:
    conn, _ = answered(loop, b"answer", kept=False, unread=None)
    now = time.monotonic()
    loop.tails.end(now)
    loop.tails.sweep(now + LINGER_SECONDS - 1)
    assert loop.dropped == [conn]
