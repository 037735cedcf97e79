"""What is left to do on a connection once its request is answered, all of it in the event loop:

- the rest of the answer goes out as the client takes it, within SEND_SECONDS, else the connection is reset;
- the rest of a body that the answer did not need is thrown away, within bounds of time and bytes: a connection that is
  closed on it is reset, answer and all, and one that is kept must begin with the next request;
- the connection waits for its next request, or lingers: it is closed when the client has done so, or after
  LINGER_SECONDS.

No number of clients that are slow in any of this costs a thread.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn

from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.unsent import UnsentAnswers

LINGER_SECONDS = 5.0
# Of what a client sends that nobody needs; more is not worth the loop's time.
MAX_DISCARDED = 64 * 2**20
# Connections that only linger; one more, and the oldest is closed.
MAX_LINGERING = 4096
# At one look for who has had his time.
MAX_DROPPED = 128
# close() sends a reset at once, and the kernel forgets what the client has not taken.
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Tail:
    """kept: whether the connection is to wait for another request. Instants are of time.monotonic."""

    kept: bool
    linger_until: float
    send_until: float = 0.0
    events: int = 0
    discarded: int = 0


class Tails:
    """The ones of a process."""

    def __init__(
        self,
        poller: BaseSelector,
        account: UnsentAnswers,
        *,
        keep: Callable[[TConn], object],
        drop: Callable[[TConn], object],
    ) -> None:
        """account: of the bytes that clients have not taken. keep: given each connection that is ready for its next
        request. drop: given each that is to be closed.
        """
        self._poller = poller
        self._account = account
        self._keep = keep
        self._drop = drop
        self._tails: dict[TConn, Tail] = {}
        # Those that wait for nothing but their client's end, the oldest first.
        self._lingering: OrderedDict[TConn, None] = OrderedDict()
        self._scratch = bytearray(64 * 1024)
        self._is_ending = False

    def add(self, conn: TConn, *, kept: bool) -> None:
        """The connection's request is answered, as far as the client took it; `conn.sock.unread` is set."""
        now = time.monotonic()
        tail = Tail(kept, now + (STOP_KEEPALIVE_LINGER if self._is_ending else LINGER_SECONDS))
        if conn.sock.is_unsent:
            tail.send_until = conn.sock.send_deadline()
        self._tails[conn] = tail
        self._go_on(conn, tail)
        if self._account.is_full:
            self._relieve()

    def sweep(self, now: float) -> None:
        """Drop whoever has had his time; MAX_DROPPED at most, so that a crowd that came together does not go, and come
        again, together.
        """
        late = (
            conn
            for conn, tail in self._tails.items()
            if (tail.send_until if conn.sock.is_unsent else tail.linger_until) <= now
        )
        for conn in list(islice(late, MAX_DROPPED)):
            if conn.sock.is_unsent:
                self._reset(conn)
            else:
                self._end(conn)

    def end(self, now: float) -> None:
        """The server ends: nobody is lingered for any longer than it is for those who may be asking."""
        self._is_ending = True
        for tail in self._tails.values():
            tail.linger_until = min(tail.linger_until, now + STOP_KEEPALIVE_LINGER)

    def make_room(self) -> bool:
        """Close the connection that has lingered longest; whether there was one."""
        oldest = next(iter(self._lingering), None)
        if oldest is not None:
            self._end(oldest)
        return oldest is not None

    def _relieve(self) -> None:
        """Cut off those that hold most, until half of the room is free: while there is none, requests are refused."""
        by_size = sorted(self._tails, key=lambda conn: conn.sock.unsent_bytes, reverse=True)
        for conn in by_size:
            if not (self._account.is_half_full and conn.sock.unsent_bytes):
                return
            self._reset(conn)

    def _go_on(self, conn: TConn, tail: Tail) -> None:
        """Wait for what is next to be done; or there is nothing left."""
        sock = conn.sock
        if sock.is_unsent:
            # Of a client that sends all before it reads, nothing would be taken until its body is.
            self._watch(conn, tail, EVENT_WRITE | (EVENT_READ if sock.unread != 0 else 0))
        elif tail.kept and sock.unread == 0:
            self._forget(conn)
            self._keep(conn)
        else:
            if not (tail.kept or conn in self._lingering):
                self._linger(conn)
            self._watch(conn, tail, EVENT_READ)

    def _linger(self, conn: TConn) -> None:
        if len(self._lingering) >= MAX_LINGERING:
            self.make_room()
        self._lingering[conn] = None
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            # Gone already; the next read says so.
            return

    def _watch(self, conn: TConn, tail: Tail, events: int) -> None:
        if tail.events == events:
            return
        if tail.events:
            self._poller.modify(conn.sock, events, partial(self._on_event, conn))
        else:
            self._poller.register(conn.sock, events, partial(self._on_event, conn))
        tail.events = events

    def _on_event(self, conn: TConn, sock: socket.socket) -> None:
        tail = self._tails.get(conn)
        if tail is None:
            # It had to go for another one in the same round of the loop.
            return
        try:
            if conn.sock.is_unsent:
                conn.sock.flush()
                if not conn.sock.is_unsent:
                    conn.sock.all_sent()
                    tail.linger_until = max(tail.linger_until, time.monotonic() + LINGER_SECONDS)
            if tail.events & EVENT_READ and not self._discard(conn, tail):
                self._end(conn)
                return
        except OSError:
            self._end(conn)
            return
        self._go_on(conn, tail)

    def _discard(self, conn: TConn, tail: Tail) -> bool:
        """Take what has come and is not needed; False where the client has ended, or sends too much."""
        unread = conn.sock.unread
        # What comes behind the body is the next request.
        most = min(unread, len(self._scratch)) if tail.kept and unread is not None else len(self._scratch)
        if not most:
            return True
        try:
            count = conn.sock.discard_waiting(self._scratch, most)
        except BlockingIOError:
            return True
        if unread is not None:
            conn.sock.unread = max(0, unread - count)
        tail.discarded += count
        return bool(count) and tail.discarded <= MAX_DISCARDED

    def _forget(self, conn: TConn) -> None:
        tail = self._tails.pop(conn)
        self._lingering.pop(conn, None)
        if tail.events:
            self._poller.unregister(conn.sock)

    def _end(self, conn: TConn) -> None:
        self._forget(conn)
        self._drop(conn)

    def _reset(self, conn: TConn) -> None:
        # It may be gone already.
        with suppress(OSError):
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._end(conn)


def has_unknown_rest(parser: Any, connection: PacedSocket) -> bool:
    """Whether more may come of a body that does not say how long it is; what is there of it is thrown away first."""
    if parser.mesg is None or isinstance(parser.mesg.body.reader, LengthReader):
        return False
    connection.hurry()
    try:
        return not parser.finish_body()
    except ParseException:
        return True


def unread_of(parser: Any) -> int | None:
    """How many bytes of the request's body have not come yet, what has come thrown away; None if nobody knows."""
    if parser.finish_body():
        return 0
    reader, unreader = parser.mesg.body.reader, parser.unreader
    if not isinstance(reader, LengthReader):
        return None
    # A read that was broken off has left there what it had got.
    here = min(reader.length, unreader.buf.getbuffer().nbytes)
    unreader.read(here)
    # Else the parser would look for the rest of the body before the next request.
    parser.mesg = None
    return int(reader.length - here)
