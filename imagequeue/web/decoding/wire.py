"""Messages between a web process and its decoders: a JSON object and byte strings, over a Unix stream socket.

Nothing is pickled: a decoder that a file has taken over could otherwise make the web process run code.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# How long the head is, and how many byte strings follow it.
_START = struct.Struct("<II")
MOST_HEAD_BYTES = 64 * 1024
MOST_PARTS = 1024


class Broken(Exception):
    """The other side has ended, or sends what is not a message."""


def send(connection: socket.socket, head: Mapping[str, Any], parts: Sequence[bytes]) -> None:
    """Raises OSError."""
    encoded = json.dumps({**head, "sizes": [len(part) for part in parts]}, separators=(",", ":")).encode()
    connection.sendall(_START.pack(len(encoded), len(parts)) + encoded)
    for part in parts:
        connection.sendall(part)


def receive(
    connection: socket.socket, *, accept: Callable[[dict[str, Any], int], object] = lambda head, size: None
) -> tuple[dict[str, Any], list[bytes]]:
    """The next message. accept: called with the head, and how many bytes will follow, before they are received; what
    it raises is raised.

    Raises Broken, OSError.
    """
    length, count = _START.unpack(_exactly(connection, _START.size))
    if length > MOST_HEAD_BYTES or count > MOST_PARTS:
        raise Broken(f"a head of {length} bytes, {count} parts")
    try:
        head = json.loads(_exactly(connection, length))
        sizes = head.pop("sizes")
        is_sound = len(sizes) == count and all(type(size) is int and size >= 0 for size in sizes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Broken(f"not a head: {error!r}") from error
    if not is_sound:
        raise Broken("the sizes are not those of the parts")
    accept(head, sum(sizes))
    return head, [_exactly(connection, size) for size in sizes]


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray(size)
    view, start = memoryview(received), 0
    while start < size:
        count = connection.recv_into(view[start:])
        if count == 0:
            raise Broken("the other side has ended")
        start += count
    view.release()
    return bytes(received)
