"""How slow a client may be: a Gunicorn worker in which waiting for a client's bytes costs no thread, or not for long.

Gunicorn's own hands a connection to a thread at its first byte, and the thread waits for the rest without any limit:
600 clients that sent one byte a minute held all threads, and the service was gone for as long as they liked. Here

- a request's head is collected in the event loop, and a thread gets the request when it is whole;
- a body may pause for PATIENCE, must arrive at LEAST_RATE after that, and be complete when the request's time is over,
  else it is 408 or a closed connection;
- what a client does not take at once of an answer, what it still sends of a body that nobody needs, and the end of its
  connection are waited for in the event loop, see tails;
- probes are answered by the event loop itself, see probes.

What is left to the proxy in front: see docs/security.md.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from imagequeue.errors import Unavailable
from imagequeue.events import warn
from imagequeue.web import gate, tracecontext
from imagequeue.web.doorman import PLACE_SECONDS, Arrival, Doorman
from imagequeue.web.gate import Gate
from imagequeue.web.heads import END_OF_HEAD, MAX_HEAD, Heads
from imagequeue.web.keptalive import KeptAlive
from imagequeue.web.malformed import MalformedRequests
from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.probes import Probe, Probes, Readiness
from imagequeue.web.rebuff import Rebuff, head_too_long
from imagequeue.web.sharing import Sharing
from imagequeue.web.tails import Tails, has_unknown_rest, unread_of
from imagequeue.web.threadstack import ThreadStack
from imagequeue.web.unsent import UnsentAnswers

# Heads are gathered for no longer before the first of them is given a thread.
GATHER_SECONDS = 0.02
# Between two looks for who has taken too long: each goes over all connections.
SWEEP_SECONDS = 0.1
# Connections in one round of the loop: a probe that comes behind a thousand others is not to wait for all of them.
ACCEPTED_AT_A_TIME = 64


class PacedWorker(MalformedRequests, ThreadWorker):  # type: ignore[misc, unused-ignore]
    """Gunicorn's gthread worker with the limits above."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_ending = self._is_gathering = False
        self._gate = Gate()
        self.keepalived_conns = KeptAlive()
        self._next_sweep = 0.0
        # Gunicorn asks for the outcome of a request in a thread; of one that kept its connection it is always this.
        self._kept: Future[bool] = Future()
        self._kept.set_result(True)
        self._accounting: Future[None] | None = None
        # Set before the first connection comes; where there is none, everybody comes in.
        self.doorman: Doorman | None = None
        # Where there are none, the application answers probes.
        self.probes: Probes | None = None
        # From a request's head on, for the whole of its body.
        self.body_seconds = float("inf")
        self.sharing = Sharing(lambda count: None)

    def get_thread_pool(self) -> ThreadStack:
        return ThreadStack(self.cfg.threads)

    def run(self) -> None:
        """Gunicorn's loop."""
        self._account = self.doorman.unsent if self.doorman is not None else UnsentAnswers()
        self._heads = Heads(self.poller, whole=self._asked, endless=self._refuse_endless, drop=self._drop)
        self._tails = Tails(self.poller, self._account, keep=self._keep, drop=self._drop)
        if self.probes is not None:
            self._readiness = Readiness(self.probes.why_not_ready, self.method_queue.defer, self._answer_probe)
        super().run()

    def enqueue_req(self, conn: TConn) -> None:
        """A connection is new, or has sent something: a thread gets it once the head of a request is there."""
        if not isinstance(conn.sock, PacedSocket):
            conn.sock = PacedSocket.over(conn.sock, self._account)
            conn.sock.body_seconds = self.body_seconds
        self._heads.collect(conn)

    def _asked(self, conn: TConn, received: bytes) -> None:
        """A request's head is whole."""
        if self.probes is not None and (probe := self.probes.probe(received)) is not None:
            self._be_probed(conn, probe, received.partition(END_OF_HEAD)[2])
        elif self.doorman is not None and received.startswith(b"POST "):
            self.doorman.arrive(conn, received)
        else:
            self._gate.arrive(conn, received)

    def _refuse_endless(self, conn: TConn) -> None:
        request_id = tracecontext.request_id("")
        self._turn_away(conn, head_too_long(MAX_HEAD, request_id))
        # In a thread: it may have to wait for the log.
        self.tpool.submit(warn, "refused", request=request_id, status=431, reason="the head has no end")

    def accept(self, listener: socket.socket) -> None:
        """A new connection; where the process has no descriptor left for it, it waits in the kernel's queue."""
        if self._is_gathering:
            return
        for _ in range(ACCEPTED_AT_A_TIME):
            # All at once would be here before the siblings are awake.
            if self.nr_conns >= self.worker_connections or self.sharing.leaves(self.nr_conns):
                return
            try:
                plain, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                # The whole machine has no descriptor left (this process keeps some back, see descriptors), or no memory
                # for a connection; the listener itself is well.
                time.sleep(0.01)
                return
            self.nr_conns += 1
            self.enqueue_req(TConn(self.cfg, plain, address, listener.getsockname()))

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Gunicorn's, and whoever has arrived with it is let in or turned away.

        All that arrive at the same time are gathered first: the threads of those who are let in would be in the way
        of reading the others, and of telling them that they came in vain.
        """
        before = self.doorman.arrivals if self.doorman is not None else 0
        if self.doorman is not None and self.doorman.is_anybody_waiting:
            timeout = min(timeout, PLACE_SECONDS / 2)
        if self.sharing.begin_round():
            timeout = 0.0
        if self._gate.is_anybody_waiting:
            timeout = min(timeout, gate.PLACE_SECONDS / 2)
        super().wait_for_and_dispatch_events(timeout)
        self.sharing.end_round()
        for conn, received in self._gate.next():
            self._hand_over(conn, received)
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

    def _be_probed(self, conn: TConn, probe: Probe, ahead: bytes) -> None:
        """ahead: what has come behind the request."""
        conn.init()
        conn.parser.unreader.unread(ahead)
        if probe.asks_for_readiness:
            self._readiness.ask(conn, probe)
        else:
            self._answer_probe(conn, probe)

    def _answer_probe(self, conn: TConn, probe: Probe, reason: str = "") -> None:
        assert self.probes is not None
        is_kept = probe.is_kept and self.alive and len(self.keepalived_conns) < self.max_keepalived
        self._answer(conn, self.probes.answer(probe, is_kept=is_kept, reason=reason), unread=0, kept=is_kept)

    def _turn_away(self, conn: TConn, rebuff: Rebuff) -> None:
        """Answer, and listen to what still comes: a connection that is closed on it is reset, answer and all."""
        unread = 0 if rebuff.is_all_here else None
        self._answer(conn, rebuff.answer, unread=unread, kept=False, is_over=rebuff.is_all_here)

    def _answer(self, conn: TConn, content: bytes, *, unread: int | None, kept: bool, is_over: bool = False) -> None:
        """unread: see PacedSocket. is_over: nothing comes of the client any more that could reset the connection."""
        try:
            conn.sock.sendall(content)
        except OSError:
            self._drop(conn)
            return
        if is_over and not conn.sock.is_unsent:
            self._drop(conn)
            return
        conn.sock.unread = unread
        self._tails.add(conn, kept=kept)

    def _keep(self, conn: TConn) -> None:
        """The connection is ready for its next request."""
        if conn.parser.unreader.buf.getbuffer().nbytes:
            # Later, or a hundred requests in one piece would keep the loop from everybody else.
            self.method_queue.defer(self.enqueue_req, conn)
        else:
            super().finish_request(conn, self._kept)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """A thread has answered, or failed to."""
        self._gate.leave(conn)
        try:
            kept = not fs.cancelled() and fs.result() is True and conn.sock.unread is not None
        except Exception:
            kept = False
        if conn.sock.fileno() < 0:
            self._drop(conn)
        else:
            self._tails.add(conn, kept=kept)

    def _drop(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Gunicorn's loop calls it every second at least: who has taken too long is dropped."""
        self.sharing.tell(self.nr_conns)
        now = time.monotonic()
        if not self.alive and not self._is_ending:
            self._is_ending = True
            self._heads.end(now)
            self._tails.end(now)
        is_accounting = self._accounting is not None and not self._accounting.done()
        if self.doorman is not None and self.doorman.rebuffs.is_accounting_due and not is_accounting:
            self._accounting = self.tpool.submit(self.doorman.rebuffs.account)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        self._heads.sweep(now)
        self._tails.sweep(now)
        if self.probes is not None:
            self._readiness.sweep(now)

    def _make_room(self) -> None:
        """Close the connection that is needed least, so that another may come: this process may have no more."""
        if self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            self.poller.unregister(conn.sock)
            self._drop(conn)
        elif not self._tails.make_room():
            self._heads.make_room()

    def _keepalive_after(self, conn: TConn, keepalive: Any) -> bool:
        """In a thread: what is left of a body that the answer did not need is for the event loop to take."""
        conn.sock.hurry()
        try:
            conn.sock.unread = unread_of(conn.parser)
        except ParseException:
            # Broken chunks behind an answer that needed none of them: a second answer would pass for the next one's.
            conn.sock.unread = None
            return False
        return bool(keepalive)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """In a thread. Where nobody knows how much of the body is still to come, the answer does not promise to keep
        the connection: the client's next request would meet its end.
        """

        def should_close() -> bool:
            if has_unknown_rest(conn.parser, conn.sock):
                req.force_close()
            return bool(type(req).should_close(req))

        req.should_close = should_close
        try:
            return bool(super().handle_request(req, conn))
        finally:
            # The parser asks once more, when the next request is on its way already.
            del req.should_close

    def handle(self, conn: TConn) -> Any:
        """In a thread: the request."""
        try:
            return super().handle(conn)
        finally:
            conn.sock.settle()
