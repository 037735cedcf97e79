"""The connections that wait for their next request, as Gunicorn's loop wants them: the oldest first.

Gunicorn's own is a deque, in which the one that has sent something is looked for from the start, among thousands of
idle ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from gunicorn.workers.gthread import TConn


class KeptAlive:
    """What Gunicorn uses of a deque, each step as cheap among many as among few."""

    def __init__(self) -> None:
        self._connections: OrderedDict[TConn, None] = OrderedDict()

    def append(self, conn: TConn) -> None:
        self._connections[conn] = None

    def remove(self, conn: TConn) -> None:
        del self._connections[conn]

    def popleft(self) -> TConn:
        """Raises KeyError where there is none."""
        return self._connections.popitem(last=False)[0]

    def __getitem__(self, place: int) -> TConn:
        """place: 0, the oldest. Raises IndexError."""
        if place or not self._connections:
            raise IndexError(place)
        return next(iter(self._connections))

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[TConn]:
        return iter(self._connections)
