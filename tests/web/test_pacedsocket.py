"""A socket whose client has to keep a least pace."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from imagequeue.web import pacedsocket
from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.unsent import UnsentAnswers
from tests.support.system import eventually


@pytest.fixture
def pair() -> Iterator[tuple[PacedSocket, socket.socket]]:
    near, far = socket.socketpair()
    paced = PacedSocket.over(near, UnsentAnswers())
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


def test_one_that_is_let_go_is_too_slow_and_not_at_its_end(pair: tuple[PacedSocket, socket.socket]) -> None:
    paced, _ = pair
    found: list[Exception] = []

    def read() -> None:
        try:
            paced.recv(10)
        except TimeoutError as error:
            found.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    eventually(lambda: paced.waits_since is not None)
    paced.let_go()
    reading.join()
    assert "others wanted its place" in str(*found)
    assert paced.waits_since is None


def test_a_client_that_keeps_the_least_rate_may_take_as_long_as_it_needs(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "PATIENCE", 0.05)
    paced, far = pair
    end = time.monotonic() + 5 * pacedsocket.PATIENCE
    while time.monotonic() < end:
        far.sendall(bytes(pacedsocket.LEAST_RATE))
        paced.recv(pacedsocket.LEAST_RATE)


def test_silence_is_as_long_as_patience_however_much_has_come_before(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "PATIENCE", 0.1)
    monkeypatch.setattr(pacedsocket, "LEAST_RATE", 1)
    paced, far = pair
    paced.restart()
    far.sendall(bytes(50_000))
    left = 50_000
    while left:
        left -= len(paced.recv(left))
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        paced.recv(1)
    assert time.monotonic() - started < 10, "and not 50,000 s"


def test_a_body_has_its_time_in_all_from_the_instant_at_which_its_head_came(
    pair: tuple[PacedSocket, socket.socket],
) -> None:
    paced, far = pair
    paced.body_seconds = 30.0
    paced.restart(came=time.monotonic() - 29)
    far.sendall(b"abc")
    assert paced.recv(3) == b"abc"
    paced.restart(came=time.monotonic() - 31)
    far.sendall(b"def")
    with pytest.raises(TimeoutError):
        paced.recv(3)


def test_what_is_not_needed_is_taken_as_far_as_it_is_there_and_never_waited_for(
    pair: tuple[PacedSocket, socket.socket],
) -> None:
    paced, far = pair
    far.sendall(b"abc")
    paced.hurry()
    assert paced.recv(10) == b"abc"
    with pytest.raises(TimeoutError):
        paced.recv(10)
    far.sendall(b"too late")
    with pytest.raises(TimeoutError):
        paced.recv(10)


def test_no_more_than_a_bound_is_taken_of_what_is_not_needed(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacedsocket, "HURRIED_BYTES", 5)
    paced, far = pair
    far.sendall(b"abcdefghi")
    paced.hurry()
    assert paced.recv(3) + paced.recv(3) == b"abcde"
    with pytest.raises(TimeoutError):
        paced.recv(3)


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
    paced, far = pair
    paced.restart()
    far.sendall(b"a")
    # It leaves a time limit behind.
    assert paced.recv(10) == b"a"
    assert paced.gettimeout()
    started = time.monotonic()
    with pytest.raises(BlockingIOError):
        paced.recv_waiting(10)
    assert time.monotonic() - started < pacedsocket.PATIENCE / 2


def taken(far: socket.socket, paced: PacedSocket) -> bytes:
    """All of an answer, as its client takes it."""
    content = bytearray()
    while paced.is_unsent:
        content += far.recv(2**20)
        paced.flush()
    paced.close()
    while received := far.recv(2**20):
        content += received
    return bytes(content)


def test_what_is_not_taken_at_once_of_an_answer_is_kept_and_goes_out_as_it_is_taken(
    pair: tuple[PacedSocket, socket.socket],
) -> None:
    paced, far = pair
    pieces = [bytes([n]) * 300_000 for n in range(10)]
    started = time.monotonic()
    for piece in pieces:
        paced.sendall(piece)
    assert time.monotonic() - started < pacedsocket.SEND_SECONDS / 2, "no thread waits"
    assert paced.is_unsent
    assert 300_000 <= paced.unsent_bytes <= 3_000_000
    assert taken(far, paced) == b"".join(pieces)
    assert paced.unsent_bytes == 0


def test_to_ask_for_a_body_waits_no_more_than_an_answer_does(pair: tuple[PacedSocket, socket.socket]) -> None:
    paced, _ = pair
    paced.sendall(bytes(5_000_000))
    assert paced.send(b"HTTP/1.1 100 Continue") == len(b"HTTP/1.1 100 Continue")


def test_a_file_is_held_once_for_all_who_have_not_taken_it(tmp_path: Path) -> None:
    account = UnsentAnswers()
    content = bytes(range(256)) * 8000
    file = tmp_path / "bundle.js"
    file.write_bytes(content)
    with ExitStack() as sockets:
        pairs = []
        for _ in range(3):
            near, far = socket.socketpair()
            paced = sockets.enter_context(PacedSocket.over(near, account))
            pairs.append((paced, sockets.enter_context(far)))
            with file.open("rb") as opened:
                assert paced.sendfile(opened, 256, len(content) - 512) == len(content) - 512
            assert paced.is_unsent
        assert len({id(paced._outbox._pieces[0][2]) for paced, _ in pairs}) == 1
        assert account.bytes == 0
        for paced, far in pairs:
            assert taken(far, paced) == content[256:-256]
    assert not account._files, "and let go with the last of them"


def test_time_that_a_client_lets_an_answer_wait_is_not_given_back_by_its_next_request(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(pacedsocket.time, "monotonic", lambda: now)
    paced, _ = pair
    assert paced.send_deadline() == now + pacedsocket.SEND_SECONDS
    now += 20
    paced.all_sent()
    assert paced.send_deadline() == now + pacedsocket.SEND_SECONDS - 20
    paced.all_sent()
    now += 5
    assert paced.send_deadline() == now + pacedsocket.SEND_SECONDS - 15, "but by a rest"
