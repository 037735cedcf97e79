"""Requests that classify nothing are given a thread a few at a time; the others wait in the event loop.

More at a time would be no faster, and a thousand threads that all want the interpreter's lock would keep it from the
loop, which answers probes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from gunicorn.workers.gthread import TConn

PLACES = 8
# Whoever takes longer waits for something, as for a Redis that is slow, and keeps nobody else from it.
PLACE_SECONDS = 0.05


class Gate:
    """The one of a process. In its event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[TConn, bytes]] = deque()
        # Since when (of time.monotonic).
        self._inside: dict[TConn, float] = {}

    @property
    def is_anybody_waiting(self) -> bool:
        return bool(self._waiting)

    def arrive(self, conn: TConn, received: bytes) -> None:
        """received: what has come of the request, its head whole."""
        self._waiting.append((conn, received))

    def leave(self, conn: TConn) -> None:
        """Its request is answered."""
        self._inside.pop(conn, None)

    def next(self) -> Iterator[tuple[TConn, bytes]]:
        """Everyone who is to be given a thread now."""
        while self._waiting and self._taken() < PLACES:
            conn, received = self._waiting.popleft()
            self._inside[conn] = time.monotonic()
            yield conn, received

    def _taken(self) -> int:
        begun = time.monotonic() - PLACE_SECONDS
        taken = 0
        # The last ones that came in are the last ones here.
        for since in reversed(self._inside.values()):
            if since <= begun or taken == PLACES:
                break
            taken += 1
        return taken
