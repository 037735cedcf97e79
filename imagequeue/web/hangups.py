"""Clients that hang up while they wait: their images are not computed.

A client that has lost its patience sends the same again; a server that computes both does the work twice just when it
has too much of it. The kernel knows who has hung up, so it is asked now and then, for all who wait in one call.

A client that only ends its own side of the connection (`shutdown`) counts as gone, as it does for nginx and for Go's
server: what it sends looks the same. Where the kernel cannot tell (no POLLRDHUP, as on macOS) nobody is taken for gone.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from imagequeue.events import fail, log
from imagequeue.ticket import Ticket

INTERVAL = 1.0
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


@dataclass(frozen=True, eq=False)
class _Waiting:
    client: socket.socket
    tickets: Sequence[Ticket]


class HangUps:
    """The watch over one process's waiting clients. Start it after the fork."""

    def __init__(self, *, interval: float = INTERVAL) -> None:
        """interval: seconds between two looks; a request that is answered sooner costs nothing here."""
        self._interval = interval
        self._waiting: dict[_Waiting, None] = {}
        self._stopping = threading.Event()

    def start(self) -> None:
        if _HUNG_UP:
            threading.Thread(target=self._look_forever, name="hang-ups", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    @contextmanager
    def watching(self, client: socket.socket | None, tickets: Sequence[Ticket]) -> Iterator[None]:
        """As long as the block runs: abandon the tickets if the client hangs up. The block's thread owns the socket."""
        if client is None:
            yield
            return
        waiting = _Waiting(client, tickets)
        self._waiting[waiting] = None
        try:
            yield
        finally:
            del self._waiting[waiting]

    def _look_forever(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self._look()
            except Exception as error:
                fail("hang_ups_broke", reason=repr(error))

    def _look(self) -> None:
        poll, by_descriptor = select.poll(), {}
        # list() of a dict is one step under the interpreter's lock; requests come and go meanwhile.
        for waiting in list(self._waiting):
            descriptor = waiting.client.fileno()
            if descriptor >= 0:
                poll.register(descriptor, _HUNG_UP)
                by_descriptor[descriptor] = waiting
        for descriptor, event in poll.poll(0):
            # POLLNVAL is a connection that was closed since, its request answered.
            if event & (_HUNG_UP | select.POLLHUP | select.POLLERR):
                for ticket in by_descriptor[descriptor].tickets:
                    if not ticket.wait(0):
                        log("client_gone", job=ticket.id)
                        ticket.abandon()
