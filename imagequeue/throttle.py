"""Log lines that somebody outside can cause at will: a few of each kind a second, then one that counts the rest."""

from __future__ import annotations

import os
import threading
import time

from imagequeue.events import warn

MOST = 5
WINDOW_SECONDS = 1.0
# A kind is a word of the code's; should one ever hold a client's text, the kinds are bounded all the same.
MAX_KINDS = 64
OTHERS = "others"


class Throttle:
    """Thread-safe, and safe across forks. Lines of each kind are counted apart: many of one do not hide another."""

    def __init__(self, *, most: int = MOST, window: float = WINDOW_SECONDS) -> None:
        """most: lines of a kind in `window` seconds."""
        self._most = most
        self._window = window
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # Of each kind that was seen in its window: when that ends (of time.monotonic), and how many came.
        self._seen: dict[str, tuple[float, int]] = {}

    def admits(self, kind: str) -> bool:
        """Whether a line of that kind is to be written now; if not, it will be counted when its window ends."""
        if self._pid != os.getpid():
            # Forked, perhaps while another thread had the lock; what the parent has seen, the parent counts.
            self._start()
        now = time.monotonic()
        with self._lock:
            if kind not in self._seen and len(self._seen) >= MAX_KINDS:
                kind = OTHERS
            ends, count = self._seen.get(kind, (0.0, 0))
            # With more than enough lines it is for the timer to end the window, and to say how many there were.
            if now >= ends and count <= self._most:
                ends, count = now + self._window, 0
            count += 1
            self._seen[kind] = (ends, count)
        if count == self._most + 1:
            timer = threading.Timer(max(0.0, ends - now), self._count_rest, (kind,))
            timer.daemon = True
            timer.start()
        return count <= self._most

    def _count_rest(self, kind: str) -> None:
        with self._lock:
            _, count = self._seen.pop(kind, (0.0, 0))
        if count > self._most:
            warn("log_lines_left_out", kind=kind, lines=count - self._most)
