"""One job that a thread of this process waits for."""

from __future__ import annotations

import threading
import time
from contextlib import suppress


class Ticket:
    """One outstanding job: who waits on it, since when, and how the answer came."""

    __slots__ = ("_waiting", "born", "came_by", "envelope", "id", "is_enqueued", "is_missing", "woken_at")

    def __init__(self, job_id: str) -> None:
        self.id = job_id
        self.born = time.monotonic()
        self.envelope: bytes | None = None
        self.came_by = ""
        # Of time.perf_counter.
        self.woken_at = 0.0
        self.is_enqueued = False
        self.is_missing = False
        # Held until there is an answer, or none is wanted: half of what an Event costs.
        self._waiting = threading.Lock()
        self._waiting.acquire()

    def resolve(self, envelope: bytes, came_by: str) -> None:
        """The first answer counts; a message and a poll may both bring it."""
        if self.envelope is None:
            self.came_by = came_by
            self.woken_at = time.perf_counter()
            self.envelope = envelope
            self._end()

    def wait(self, seconds: float) -> bool:
        is_ended = self._waiting.acquire(timeout=max(0.0, seconds))
        if is_ended:
            # Whoever else waits, or waits again, is not to wait.
            self._end()
        return is_ended

    def abandon(self) -> None:
        """Nobody wants the answer any more: whoever waits is woken without one."""
        self._end()

    def _end(self) -> None:
        # A second time is none: a job may be answered, and given up by its client, at the same moment.
        with suppress(RuntimeError):
            self._waiting.release()
