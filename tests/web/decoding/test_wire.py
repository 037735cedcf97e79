"""Messages between a web process and a decoder, whatever the other side sends."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from imagequeue.web.decoding import wire


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
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


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0\0\0",
        struct.pack("<II", 2**31, 1),
        struct.pack("<II", 10, 2**31),
        struct.pack("<II", 3, 0) + b"{x}",
        struct.pack("<II", 2, 0) + b"[]",
        struct.pack("<II", 2, 0) + b"{}",
        struct.pack("<II", len(HEAD), 2) + HEAD,
        struct.pack("<II", 14, 1) + b'{"sizes":[-1]}',
        struct.pack("<II", len(HEAD), 1) + HEAD,
    ],
)
def test_what_is_not_a_message_is_broken(ends: tuple[socket.socket, socket.socket], sent: bytes) -> None:
    ours, theirs = ends
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(wire.Broken):
        wire.receive(ours)
