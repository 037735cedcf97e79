"""Messages between a web process and a decoder, whatever the other side sends."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from imagequeue.web.decoding import wire


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_message_arrives_as_it_was_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    wire.send(theirs, {"task": "decode", "size": [1, 2]}, [b"", b"abc", bytes(1000)])
    assert wire.receive(ours) == ({"task": "decode", "size": [1, 2]}, [b"", b"abc", bytes(1000)])


def test_the_size_of_what_follows_is_known_before_it_is_received(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    wire.send(theirs, {"a": 1}, [b"abc", b"de"])
    seen: list[object] = []
    wire.receive(ours, accept=lambda head, size: seen.append((head, size)))
    assert seen == [({"a": 1}, 5)]


HEAD = b'{"sizes":[1]}'


def message(length: int, count: int, head: bytes, content: bytes = b"") -> bytes:
    return struct.pack("<II", length, count) + head.ljust(256) + content


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0\0\0",
        message(2**31, 1, HEAD, b"x"),
        message(255, 1, HEAD, b"x"),
        message(256, 2**31, HEAD, b"x"),
        message(300, 1, HEAD, b"x"),
        message(256, 0, b"{x}"),
        message(256, 0, b"[]"),
        message(256, 0, b"{}"),
        message(256, 2, HEAD, b"x"),
        message(256, 1, b'{"sizes":[-1]}'),
        message(256, 1, b'{"sizes":["1"]}', b"x"),
        message(256, 1, HEAD),
    ],
)
def test_what_is_not_a_message_is_broken(ends: tuple[socket.socket, socket.socket], sent: bytes) -> None:
    ours, theirs = ends
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(wire.Broken):
        wire.receive(ours)


def test_a_long_head_and_many_large_parts_arrive_as_they_were_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    head, parts = {"wanted": {"id": "é" * 2000}}, [bytes([n]) * 50_000 for n in range(100)]
    sending = threading.Thread(target=wire.send, args=(theirs, head, parts))
    sending.start()
    assert wire.receive(ours) == (head, parts)
    sending.join(20)
