"""How slow a client may be: a Gunicorn worker in which waiting for a client's bytes costs no thread, or not for long.

Gunicorn's own hands a connection to a thread at its first byte, and the thread waits for the rest without any limit:
600 clients that sent one byte a minute held all threads, and the service was gone for as long as they liked. Here

- a request's head is collected in the event loop, and a thread gets the request when it is whole;
- a body must arrive at LEAST_RATE after the first PATIENCE seconds, else it is 408 or a closed connection;
- an answer must be taken within SEND_SECONDS, and the end of a connection is waited for in its thread, not in the
  event loop, where one client that does not hang up would stop all others for two seconds.

What is left to the proxy in front: see docs/security.md.
"""

from __future__ import annotations

import errno
import socket
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

HEAD_SECONDS = 10.0
PATIENCE = 10.0
LEAST_RATE = 8 * 1024
SEND_SECONDS = 30.0
# The rest of a refused body is read for so long, and a connection's end waited for; a pause of GAP_SECONDS ends it.
LINGER_SECONDS = 5.0
GAP_SECONDS = 0.25
# A longer head goes on to Gunicorn's parser, which has limits of its own.
MAX_HEAD = 32 * 1024
END_OF_HEAD = b"\r\n\r\n"


class PacedSocket(socket.socket):
    """A client's connection on which no single wait is endless. One thread at a time."""

    _started = 0.0
    _received = 0
    _hurried = float("inf")

    @classmethod
    def over(cls, plain: socket.socket) -> PacedSocket:
        """Takes the connection over; `plain` is of no use afterwards."""
        paced = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        paced.setblocking(False)
        return paced

    def restart(self) -> None:
        """The next bytes belong to another request."""
        self._started, self._received, self._hurried = 0.0, 0, float("inf")

    def hurry(self) -> None:
        """What still comes is not needed: taken while it comes without a pause, for LINGER_SECONDS at most."""
        self._hurried = min(self._hurried, time.monotonic() + LINGER_SECONDS)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises TimeoutError when the request is too slow."""
        now = time.monotonic()
        self._started = self._started or now
        left = min(self._started + PATIENCE + self._received / LEAST_RATE, self._hurried) - now
        if left <= 0:
            raise TimeoutError("The request came too slowly.")
        is_hurried = self._hurried < float("inf")
        self.settimeout(min(left, GAP_SECONDS) if is_hurried else left)
        try:
            received = super().recv(size, flags)
        except TimeoutError:
            if is_hurried:
                self._hurried = 0.0
            raise
        self._received += len(received)
        return received

    def recv_waiting(self, size: int) -> bytes:
        """What is there now. Raises BlockingIOError if nothing is."""
        return super().recv(size, socket.MSG_DONTWAIT)

    def setblocking(self, flag: bool) -> None:
        """Nothing, once it is closed: Gunicorn's loop closes again what its thread has closed, and would count the
        error as one more connection gone. A server that ends waits until none is left by that count.
        """
        if self.fileno() >= 0:
            super().setblocking(flag)

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Raises BrokenPipeError when the client does not take the answer."""
        self.settimeout(SEND_SECONDS)
        try:
            super().sendall(content, flags)
        except TimeoutError as error:
            raise BrokenPipeError(errno.EPIPE, "The client does not take its answer.") from error


class PacedWorker(ThreadWorker):  # type: ignore[misc, unused-ignore]
    """Gunicorn's gthread worker with the limits above."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections whose head is not whole yet, the oldest first, and what has come of it.
        self._heads: dict[TConn, tuple[float, bytearray]] = {}
        self._is_ending = False

    def enqueue_req(self, conn: TConn) -> None:
        """A connection is new, or has sent something: a thread gets it once the head of a request is there."""
        if not isinstance(conn.sock, PacedSocket):
            conn.sock = PacedSocket.over(conn.sock)
        deadline, head = self._heads.pop(conn, (0.0, bytearray()))
        if not deadline:
            deadline = time.monotonic() + HEAD_SECONDS
            if conn.initialized:
                head += conn.parser.unreader.take_buffered()
        if not self._collect(conn, head):
            return
        if END_OF_HEAD in head or len(head) >= MAX_HEAD:
            conn.data_ready = True
            conn.sock.restart()
            conn.init()
            conn.parser.unreader.unread(bytes(head))
            super().enqueue_req(conn)
        else:
            conn.sock.setblocking(False)
            self._heads[conn] = (deadline, head)
            self.poller.register(conn.sock, EVENT_READ, partial(self._on_head_readable, conn))

    def accept(self, listener: socket.socket) -> None:
        """A new connection; where the process has no descriptor left for it, it waits in the kernel's queue."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            time.sleep(0.05)

    def _collect(self, conn: TConn, head: bytearray) -> bool:
        """Add to `head` what has come; False if the client has hung up, and the connection is closed."""
        try:
            while END_OF_HEAD not in head and len(head) < MAX_HEAD:
                received = conn.sock.recv_waiting(8192)
                if not received:
                    self._drop(conn)
                    return False
                head += received
        except BlockingIOError:
            pass
        except OSError:
            self._drop(conn)
            return False
        return True

    def _on_head_readable(self, conn: TConn, sock: socket.socket) -> None:
        self.poller.unregister(sock)
        self.enqueue_req(conn)

    def _drop(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Gunicorn's loop calls it every second at least: heads that have taken too long are dropped."""
        super().murder_pending()
        now = time.monotonic()
        if not self.alive and not self._is_ending:
            # Who has connected just now may be asking already; for the others a server that ends does not wait.
            self._is_ending = True
            for conn, (deadline, head) in self._heads.items():
                self._heads[conn] = (min(deadline, now + STOP_KEEPALIVE_LINGER), head)
        for conn in [conn for conn, (deadline, _) in self._heads.items() if deadline <= now]:
            del self._heads[conn]
            self.poller.unregister(conn.sock)
            self._drop(conn)

    def handle(self, conn: TConn) -> Any:
        """In a thread: the request, and where it was the connection's last, its end."""
        keep = super().handle(conn)
        if keep is False:
            conn.sock.hurry()
            conn.close(graceful=True)
        return keep
