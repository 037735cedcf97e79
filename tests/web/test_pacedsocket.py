"""A socket whose client has to keep a least pace."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from imagequeue.web import pacedsocket
from imagequeue.web.pacedsocket import PacedSocket


@pytest.fixture
def pair() -> Iterator[tuple[PacedSocket, socket.socket]]:
    near, far = socket.socketpair()
    paced = PacedSocket.over(near)
    with paced, far:
        yield paced, far


def test_bytes_that_come_in_time_come(pair: tuple[PacedSocket, socket.socket]) -> None:
    paced, far = pair
    far.sendall(b"abc")
    assert paced.recv(10) == b"abc"
    far.close()
    assert paced.recv(10) == b""


def test_patience_ends_whether_nothing_comes_or_a_little(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "PATIENCE", 0.1)
    monkeypatch.setattr(pacedsocket, "LEAST_RATE", 10**9)
    paced, far = pair
    with pytest.raises(TimeoutError):
        paced.recv(10)
    paced.restart()

    def trickle() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            far.sendall(b"x")
            paced.recv(1)

    with pytest.raises(TimeoutError):
        trickle()


def test_a_client_that_keeps_the_least_rate_may_take_as_long_as_it_needs(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "PATIENCE", 0.05)
    paced, far = pair
    end = time.monotonic() + 5 * pacedsocket.PATIENCE
    while time.monotonic() < end:
        far.sendall(bytes(pacedsocket.LEAST_RATE))
        paced.recv(pacedsocket.LEAST_RATE)


def test_what_is_not_needed_is_waited_for_until_its_first_pause_and_never_again(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "GAP_SECONDS", 0.05)
    paced, far = pair
    far.sendall(b"abc")
    paced.hurry()
    assert paced.recv(10) == b"abc"
    with pytest.raises(TimeoutError):
        paced.recv(10)
    far.sendall(b"too late")
    with pytest.raises(TimeoutError):
        paced.recv(10)


def test_a_request_has_settled_when_it_waits_for_its_client_and_not_before(
    pair: tuple[PacedSocket, socket.socket],
) -> None:
    paced, far = pair
    settled: list[bool] = []

    def settle() -> None:
        settled.append(True)
        # A request that waited first, and settled later, would wait in vain.
        far.sendall(b"def")

    paced.setblocking(True)
    paced.restart(settle)
    far.sendall(b"abc")
    assert paced.recv(10) == b"abc"
    assert not settled
    assert paced.recv(10) == b"def"
    assert settled == [True]
    paced.settle()
    assert settled == [True], "once"


def test_to_ask_what_is_there_never_waits(pair: tuple[PacedSocket, socket.socket]) -> None:
    paced, _ = pair
    # It leaves a time limit behind.
    paced.sendall(b"answer")
    started = time.monotonic()
    with pytest.raises(BlockingIOError):
        paced.recv_waiting(10)
    assert time.monotonic() - started < pacedsocket.SEND_SECONDS / 2


def test_an_answer_that_is_not_taken_is_a_broken_pipe(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "SEND_SECONDS", 0.05)
    with pytest.raises(BrokenPipeError):
        pair[0].sendall(bytes(50_000_000))
