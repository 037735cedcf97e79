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
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from imagequeue.web.doorman import Doorman
from imagequeue.web.rebuff import Rebuff

HEAD_SECONDS = 10.0
PATIENCE = 10.0
LEAST_RATE = 8 * 1024
SEND_SECONDS = 30.0
# The rest of a refused body is read for so long, and a connection's end waited for; a pause of GAP_SECONDS ends it.
LINGER_SECONDS = 5.0
GAP_SECONDS = 0.25
# A longer head goes on to Gunicorn's parser, which has limits of its own.
MAX_HEAD = 32 * 1024
# Heads are gathered for no longer before the first of them is given a thread.
GATHER_SECONDS = 0.02
# Connections that are listened to after their refusal; one more, and the oldest is closed.
MAX_LEAVING = 1024
END_OF_HEAD = b"\r\n\r\n"


class PacedSocket(socket.socket):
    """A client's connection on which no single wait is endless. One thread at a time."""

    _started = 0.0
    _received = 0
    _hurried = float("inf")
    _on_settled: Callable[[], object] | None = None

    @classmethod
    def over(cls, plain: socket.socket) -> PacedSocket:
        """Takes the connection over; `plain` is of no use afterwards."""
        paced = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        paced.setblocking(False)
        return paced

    def restart(self, on_settled: Callable[[], object] | None = None) -> None:
        """The next bytes belong to another request. on_settled: see `settle`."""
        self._started, self._received, self._hurried = 0.0, 0, float("inf")
        self._on_settled = on_settled

    def settle(self) -> None:
        """From now on the request only waits, for its client or for its job, or it is over. The first call counts."""
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled()

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
        if self._on_settled is not None:
            # As long as it does not wait.
            try:
                received = super().recv(size, flags | socket.MSG_DONTWAIT)
                self._received += len(received)
                return received
            except BlockingIOError:
                self.settle()
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
        if self.gettimeout():
            # sendall has left it, and Python would wait so long before it asks.
            self.setblocking(False)
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
        self._is_gathering = False
        # Connections that were turned away and have not hung up yet, and until when they may take.
        self._leaving: dict[TConn, float] = {}
        self._scratch = bytearray(64 * 1024)
        self._accounting: Future[None] | None = None
        # Set before the first connection comes; where there is none, everybody comes in.
        self.doorman: Doorman | None = None

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
            if self.doorman is not None and head.startswith(b"POST "):
                self.doorman.arrive(conn, bytes(head))
            else:
                self._hand_over(conn, bytes(head))
        else:
            conn.sock.setblocking(False)
            self._heads[conn] = (deadline, head)
            self.poller.register(conn.sock, EVENT_READ, partial(self._on_head_readable, conn))

    def accept(self, listener: socket.socket) -> None:
        """A new connection; where the process has no descriptor left for it, it waits in the kernel's queue."""
        if self._is_gathering:
            # One in each round, as Gunicorn does: else one process has them all before its siblings are awake.
            return
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            time.sleep(0.05)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Gunicorn's, and whoever has arrived with it is let in or turned away.

        All that arrive at the same time are gathered first: the threads of those who are let in would be in the way
        of reading the others, and of telling them that they came in vain.
        """
        before = self.doorman.arrivals if self.doorman is not None else 0
        super().wait_for_and_dispatch_events(timeout)
        if self.doorman is None or not self.doorman.is_anybody_waiting:
            return
        self._is_gathering = True
        end = time.monotonic() + GATHER_SECONDS
        while self.doorman.arrivals > before and time.monotonic() < end:
            before = self.doorman.arrivals
            super().wait_for_and_dispatch_events(0)
        self._is_gathering = False
        for arrival, rebuff in self.doorman.next():
            if rebuff is None:
                self._hand_over(arrival.conn, arrival.received, self._settled)
            else:
                self._turn_away(arrival.conn, rebuff)

    def _settled(self) -> None:
        """In a request's thread."""
        if self.doorman is not None and self.doorman.settled():
            # Whenever it has been awake, the loop lets the next ones in.
            self.method_queue.defer(lambda: None)

    def _hand_over(self, conn: TConn, received: bytes, on_settled: Callable[[], object] | None = None) -> None:
        """A thread gets the request."""
        conn.data_ready = True
        conn.sock.restart(on_settled)
        conn.init()
        conn.parser.unreader.unread(received)
        super().enqueue_req(conn)

    def _turn_away(self, conn: TConn, rebuff: Rebuff) -> None:
        """Answer, and listen to what still comes: a connection that is closed on it is reset, answer and all."""
        try:
            if conn.sock.send(rebuff.answer, socket.MSG_DONTWAIT) < len(rebuff.answer):
                raise BlockingIOError
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        if rebuff.is_all_here:
            self._drop(conn)
            return
        if len(self._leaving) >= MAX_LEAVING:
            self._see_off(next(iter(self._leaving)))
        self._leaving[conn] = time.monotonic() + LINGER_SECONDS
        self.poller.register(conn.sock, EVENT_READ, partial(self._on_leaving_readable, conn))

    def _on_leaving_readable(self, conn: TConn, sock: socket.socket) -> None:
        try:
            if not sock.recv_into(self._scratch, 0, socket.MSG_DONTWAIT):
                self._see_off(conn)
        except BlockingIOError:
            pass
        except OSError:
            self._see_off(conn)

    def _see_off(self, conn: TConn) -> None:
        del self._leaving[conn]
        self.poller.unregister(conn.sock)
        self._drop(conn)

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
        """Gunicorn's loop calls it every second at least: who has taken too long is dropped."""
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
        is_accounting = self._accounting is not None and not self._accounting.done()
        if self.doorman is not None and self.doorman.rebuffs.is_accounting_due and not is_accounting:
            self._accounting = self.tpool.submit(self.doorman.rebuffs.account)
        for conn in [conn for conn, deadline in self._leaving.items() if deadline <= now]:
            self._see_off(conn)

    def handle(self, conn: TConn) -> Any:
        """In a thread: the request, and where it was the connection's last, its end."""
        try:
            keep = super().handle(conn)
        finally:
            conn.sock.settle()
        if keep is False:
            conn.sock.hurry()
            conn.close(graceful=True)
        return keep
