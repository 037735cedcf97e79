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

from imagequeue.errors import Unavailable
from imagequeue.events import warn
from imagequeue.web import tracecontext
from imagequeue.web.doorman import PLACE_SECONDS, Arrival, Doorman
from imagequeue.web.malformed import MalformedRequests
from imagequeue.web.pacedsocket import LINGER_SECONDS, PacedSocket
from imagequeue.web.rebuff import Rebuff, head_too_long
from imagequeue.web.threadstack import ThreadStack

HEAD_SECONDS = 10.0
# A longer one is refused: a thread would have to wait for its end. Browsers and proxies stop far before.
MAX_HEAD = 32 * 1024
# Heads are gathered for no longer before the first of them is given a thread.
GATHER_SECONDS = 0.02
# A connection is left for so long to a process with fewer; if it does not take it, none is for the second time.
TURN_SECONDS = 0.03
NO_TURN_SECONDS = 0.2
# Connections that are listened to after their refusal; one more, and the oldest is closed.
MAX_LEAVING = 1024
END_OF_HEAD = b"\r\n\r\n"


class PacedWorker(MalformedRequests, ThreadWorker):  # type: ignore[misc, unused-ignore]
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
        # Tells the siblings how many connections are here, and returns the fewest of one of them; None without any.
        self.least_elsewhere: Callable[[int], int | None] = lambda count: None
        self._connections_told = 0
        # A connection that is left to a sibling: whether it was in this round of the loop, and until when it will be.
        self._is_left = False
        self._left_until = 0.0
        self._none_left_until = 0.0

    def get_thread_pool(self) -> ThreadStack:
        return ThreadStack(self.cfg.threads)

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
        if END_OF_HEAD in head:
            if self.doorman is not None and head.startswith(b"POST "):
                self.doorman.arrive(conn, bytes(head))
            else:
                self._hand_over(conn, bytes(head))
        elif len(head) >= MAX_HEAD:
            request_id = tracecontext.request_id("")
            self._turn_away(conn, head_too_long(MAX_HEAD, request_id))
            # In a thread: it may have to wait for the log.
            self.tpool.submit(warn, "refused", request=request_id, status=431, reason="the head has no end")
        else:
            conn.sock.setblocking(False)
            self._heads[conn] = (deadline, head)
            self.poller.register(conn.sock, EVENT_READ, partial(self._on_head_readable, conn))

    def accept(self, listener: socket.socket) -> None:
        """A new connection; where the process has no descriptor left for it, it waits in the kernel's queue."""
        if self._is_gathering:
            # One in each round, as Gunicorn does: else one process has them all before its siblings are awake.
            return
        if self._leaves_it():
            return
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            time.sleep(0.05)

    def _leaves_it(self) -> bool:
        """Whether a connection that comes is better for a sibling, which has fewer: all of them hear it knock, and the
        first to wake would have most of a crowd. A sibling that does not come soon is not waited for again at once.
        """
        least, now = self.least_elsewhere(self.nr_conns), time.monotonic()
        if least is None or self.nr_conns <= least + 1 or now < self._none_left_until:
            return False
        self._left_until = self._left_until or now + TURN_SECONDS
        if now >= self._left_until:
            self._none_left_until = now + NO_TURN_SECONDS
            return False
        self._is_left = True
        # The loop would be told of it again at once.
        time.sleep(TURN_SECONDS / 30)
        return True

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Gunicorn's, and whoever has arrived with it is let in or turned away.

        All that arrive at the same time are gathered first: the threads of those who are let in would be in the way
        of reading the others, and of telling them that they came in vain.
        """
        before = self.doorman.arrivals if self.doorman is not None else 0
        if self.doorman is not None and self.doorman.is_anybody_waiting:
            timeout = min(timeout, PLACE_SECONDS / 2)
        if self._is_left:
            # At once, or it could not be told from the next one.
            timeout = 0.0
        self._is_left = False
        super().wait_for_and_dispatch_events(timeout)
        if not self._is_left:
            # Somebody has taken it.
            self._left_until = 0.0
        if self.doorman is None or not self.doorman.is_anybody_waiting:
            return
        self._is_gathering = True
        end = time.monotonic() + GATHER_SECONDS
        while self.doorman.arrivals > before and time.monotonic() < end:
            before = self.doorman.arrivals
            super().wait_for_and_dispatch_events(0)
        self._is_gathering = False
        for arrival, refusal, rebuff in self.doorman.next():
            if rebuff is None:
                self._hand_over(arrival.conn, arrival.received, arrival, refusal)
            else:
                self._turn_away(arrival.conn, rebuff)

    def _settled(self, arrival: Arrival) -> None:
        """In a request's thread."""
        if self.doorman is not None and self.doorman.settled(arrival):
            # Whenever it has been awake, the loop lets the next ones in.
            self.method_queue.defer(lambda: None)

    def _hand_over(
        self, conn: TConn, received: bytes, arrival: Arrival | None = None, refusal: Unavailable | None = None
    ) -> None:
        """A thread gets the request."""
        conn.data_ready = True
        if arrival is None:
            conn.sock.restart()
        else:
            conn.sock.restart(partial(self._settled, arrival), arrival.came, refusal)
        conn.init()
        conn.parser.unreader.unread(received)
        super().enqueue_req(conn)

    def _turn_away(self, conn: TConn, rebuff: Rebuff) -> None:
        """Answer, and listen to what still comes: a connection that is closed on it is reset, answer and all."""
        try:
            # The last answer on this connection may have left it patient.
            conn.sock.setblocking(False)
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
        if conn not in self._leaving:
            # It had to go for another one that was readable in the same round of the loop.
            return
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
        if self._connections_told != self.nr_conns:
            self._connections_told = self.nr_conns
            self.least_elsewhere(self.nr_conns)
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

    def _keepalive_after(self, conn: TConn, keepalive: Any) -> bool:
        # What is left of a body that the answer did not need is thrown away, and its sender is not waited for.
        conn.sock.hurry()
        return bool(super()._keepalive_after(conn, keepalive))

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
