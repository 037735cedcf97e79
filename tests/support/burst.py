"""Many clients of one moment, in one thread that costs next to nothing beside the server."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 60.0


@dataclass
class Reply:
    """What one client got: all bytes until the connection's end, or what went wrong."""

    content: bytes = b""
    error: str = ""
    # From the request's last byte to the answer's last.
    ms: float = 0.0

    @property
    def status(self) -> int:
        """0 where there is no whole answer."""
        head, end, _ = self.content.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        return int(words[1]) if end and not self.error and words[0] == b"HTTP/1.1" else 0

    def header(self, name: str) -> str:
        """The value of a header; empty if there is none."""
        for line in self.content.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.decode("latin-1").lower() == name.lower():
                return value.decode("latin-1").strip()
        return ""


def burst(port: int, requests: Sequence[bytes]) -> list[Reply]:
    """Every request on a connection of its own, all opened before the first is sent; each must ask for the close."""
    replies = [Reply() for _ in requests]
    sent_at = [0.0] * len(requests)
    with selectors.DefaultSelector() as poll:
        for place in range(len(requests)):
            connection = socket.create_connection(("127.0.0.1", port))
            poll.register(connection, selectors.EVENT_READ, place)
        for key in list(poll.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            try:
                key.fileobj.sendall(requests[key.data])
            except OSError as error:
                replies[key.data].error = f"while it was sent: {error!r}"
            sent_at[key.data] = time.perf_counter()
            key.fileobj.setblocking(False)
        end = time.perf_counter() + PATIENCE
        while poll.get_map() and (left := end - time.perf_counter()) > 0:
            ready = poll.select(left)
            now = time.perf_counter()
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                if not _take(key.fileobj, replies[key.data], (now - sent_at[key.data]) * 1000):
                    poll.unregister(key.fileobj)
                    key.fileobj.close()
        for key in list(poll.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            replies[key.data].error = f"no end of the answer within {PATIENCE:.0f} s"
            key.fileobj.close()
    return replies


def _take(connection: socket.socket, reply: Reply, ms: float) -> bool:
    """Whether more may come."""
    try:
        received = connection.recv(65536)
    except OSError as error:
        reply.error = repr(error)
        return False
    if received:
        reply.content += received
        reply.ms = ms
    return bool(received)
