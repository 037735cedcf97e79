"""One job that a thread of this process waits for."""

from __future__ import annotations

import threading
import time


class Ticket:
    """One outstanding job: who waits on it, since when, and how the answer came."""

    __slots__ = ("_ready", "born", "came_by", "envelope", "id", "is_enqueued", "is_missing", "woken_at")

    def __init__(self, job_id: str) -> None:
        self.id = job_id
        self.born = time.monotonic()
        self.envelope: bytes | None = None
        self.came_by = ""
        # Of time.perf_counter.
        self.woken_at = 0.0
        self.is_enqueued = False
        self.is_missing = False
        self._ready = threading.Event()

    def resolve(self, envelope: bytes, came_by: str) -> None:
        """The first answer counts; a message and a poll may both bring it."""
        if self.envelope is None:
            self.came_by = came_by
            self.woken_at = time.perf_counter()
            self.envelope = envelope
            self._ready.set()

    def wait(self, seconds: float) -> bool:
        return self._ready.wait(max(0.0, seconds))

    def abandon(self) -> None:
        """Nobody wants the answer any more: whoever waits is woken without one."""
        self._ready.set()
