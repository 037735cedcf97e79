"""Messages between a web process and its decoders: a JSON object and byte strings, over a Unix stream socket.

Nothing is pickled: a decoder that a file has taken over could otherwise make the web process run code. A message is
received in two calls of the kernel, as a rule: at each of them another thread may take the interpreter's lock.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

# How long the head is, and how many byte strings follow it.
_START = struct.Struct("<II")
# A shorter head is filled up to this, so that it is received together with its length.
_PADDED = 256
MOST_HEAD_BYTES = 64 * 1024
MOST_PARTS = 1024


class Broken(Exception):
    """The other side has ended, or sends what is not a message."""


def send(connection: socket.socket, head: Mapping[str, Any], parts: Sequence[bytes]) -> None:
    """Raises OSError."""
    encoded = json.dumps({**head, "sizes": [len(part) for part in parts]}, separators=(",", ":")).encode()
    encoded = encoded.ljust(_PADDED)
    connection.sendall(_START.pack(len(encoded), len(parts)) + encoded)
    for part in parts:
        # Each by itself: put together in one call they took a decoder 0.3 ms more.
        connection.sendall(part)


def receive(
    connection: socket.socket, *, accept: Callable[[dict[str, Any], int], object] = lambda head, size: None
) -> tuple[dict[str, Any], list[bytes]]:
    """The next message. accept: called with the head, and how many bytes will follow, before they are received; what
    it raises is raised.

    Raises Broken, OSError.
    """
    started = _exactly(connection, _START.size + _PADDED)
    length, count = _START.unpack_from(started)
    if not _PADDED <= length <= MOST_HEAD_BYTES or count > MOST_PARTS:
        raise Broken(f"a head of {length} bytes, {count} parts")
    encoded = started[_START.size :]
    if length > _PADDED:
        encoded += _exactly(connection, length - _PADDED)
    try:
        head = json.loads(encoded)
        sizes = head.pop("sizes")
        is_sound = len(sizes) == count and all(type(size) is int and size >= 0 for size in sizes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Broken(f"not a head: {error!r}") from error
    if not is_sound:
        raise Broken("the sizes are not those of the parts")
    accept(head, sum(sizes))
    content = _exactly(connection, sum(sizes))
    if count == 1:
        return head, [content]
    ends = list(accumulate(sizes))
    return head, [content[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _exactly(connection: socket.socket, size: int) -> bytes:
    if size == 0:
        return b""
    received = connection.recv(size, socket.MSG_WAITALL)
    if len(received) < size:
        # The end of the other side, or of the connection's time: after that nothing comes that could be a message.
        raise Broken(f"{len(received)} of {size} bytes came")
    return received
