"""The turns of images and documents that take much memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from imagequeue.web.decoding.turn import Turn


class LargeTasks:
    """Turns in the order in which they were asked for: `most` at a time, and `most_bytes` together."""

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._count = 0
        self._bytes = 0
        self._line: deque[object] = deque()
        self._freed = threading.Condition()

    @contextmanager
    def turn_of(self, needed: int, turn: Turn) -> Iterator[None]:
        """While the block runs, `needed` bytes are the caller's. Raises DeadlineExceeded, ClientGone."""
        me = object()
        with self._freed:
            self._line.append(me)
            try:
                while self._line[0] is not me or not self._has_room(needed):
                    self._freed.wait(turn.look_seconds)
                    turn.check()
                self._count += 1
                self._bytes += needed
            finally:
                self._line.remove(me)
                self._freed.notify_all()
        try:
            yield
        finally:
            with self._freed:
                self._count -= 1
                self._bytes -= needed
                self._freed.notify_all()

    def _has_room(self, needed: int) -> bool:
        return self._count < self._most and (not self._bytes or self._bytes + needed <= self._most_bytes)
