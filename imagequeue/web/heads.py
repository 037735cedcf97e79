"""Requests whose head is not whole yet: collected in the event loop, where waiting for the rest costs no thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ, BaseSelector

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn

HEAD_SECONDS = 10.0
# A longer one is refused: a thread would have to wait for its end. Browsers and proxies stop far before.
MAX_HEAD = 32 * 1024
# Where there is room for no other connection, a head that has not come for so long makes room.
LEAST_SECONDS = 0.5
END_OF_HEAD = b"\r\n\r\n"


class Heads:
    """The ones of a process."""

    def __init__(
        self,
        poller: BaseSelector,
        *,
        whole: Callable[[TConn, bytes], object],
        endless: Callable[[TConn], object],
        drop: Callable[[TConn], object],
    ) -> None:
        """whole: given each that is, with all that has come of its request. endless: given each that is longer than
        MAX_HEAD. drop: given each connection that is to be closed.
        """
        self._poller = poller
        self._whole = whole
        self._endless = endless
        self._drop = drop
        # Until when each has time (of time.monotonic), and what has come of it.
        self._heads: dict[TConn, tuple[float, bytearray]] = {}

    def collect(self, conn: TConn) -> None:
        """The connection is new, or has sent something."""
        deadline, head = self._heads.pop(conn, (0.0, bytearray()))
        if not deadline:
            deadline = time.monotonic() + HEAD_SECONDS
            if conn.initialized:
                head += conn.parser.unreader.take_buffered()
        if not self._take(conn, head):
            self._drop(conn)
        elif END_OF_HEAD in head:
            self._whole(conn, bytes(head))
        elif len(head) >= MAX_HEAD:
            self._endless(conn)
        else:
            conn.sock.setblocking(False)
            self._heads[conn] = (deadline, head)
            self._poller.register(conn.sock, EVENT_READ, partial(self._on_readable, conn))

    def end(self, now: float) -> None:
        """Who has connected just now may be asking already; for the others a server that ends does not wait."""
        for conn, (deadline, head) in self._heads.items():
            self._heads[conn] = (min(deadline, now + STOP_KEEPALIVE_LINGER), head)

    def sweep(self, now: float) -> None:
        """Drop whoever has had his time."""
        for conn in [conn for conn, (deadline, _) in self._heads.items() if deadline <= now]:
            self._close(conn)

    def make_room(self) -> None:
        """Close the connection that has been at its head for longest, if that is long."""
        if self._heads:
            conn = min(self._heads, key=lambda conn: self._heads[conn][0])
            if self._heads[conn][0] <= time.monotonic() + HEAD_SECONDS - LEAST_SECONDS:
                self._close(conn)

    def _take(self, conn: TConn, head: bytearray) -> bool:
        """Add to `head` what has come; False if the client has hung up."""
        try:
            while END_OF_HEAD not in head and len(head) < MAX_HEAD:
                received = conn.sock.recv_waiting(8192)
                if not received:
                    return False
                head += received
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _on_readable(self, conn: TConn, sock: socket.socket) -> None:
        self._poller.unregister(sock)
        self.collect(conn)

    def _close(self, conn: TConn) -> None:
        del self._heads[conn]
        self._poller.unregister(conn.sock)
        self._drop(conn)
