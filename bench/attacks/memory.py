"""How much memory the web processes hold, and their decoders: the most of each, read from Linux's /proc."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 0.1


def children(pid: int) -> list[int]:
    """Their process ids; none of a process that has ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def status_of(pid: int, name: str) -> int:
    """A number of /proc/PID/status, as VmRSS (kB) or Threads; 0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().split(f"\n{name}:", 1)[1].split()[0])
    except (OSError, IndexError):
        return 0


def resident_mb(pid: int) -> float:
    return status_of(pid, "VmRSS") * 1024 / 1e6


def descendants(pid: int) -> list[int]:
    """All below `pid`, in any depth."""
    return [below for child in children(pid) for below in (child, *descendants(child))]


class MemoryWatch:
    """Looks at the web processes below a master until it is ended. MB by the id of the web process, each the most that
    was seen at one time; `decoders` is how many it had.
    """

    def __init__(self, master: int, *, limit_mb: float, on_limit: Callable[[], object]) -> None:
        """on_limit: called when all of them have more than limit_mb together, lest the machine has none left."""
        self.webs: dict[int, float] = {}
        self.decoders_of: dict[int, float] = {}
        self.decoders = 0
        self._master, self._limit_mb, self._on_limit = master, limit_mb, on_limit
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _look_again(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            total = 0.0
            for web in children(self._master):
                own, decoders = resident_mb(web), descendants(web)
                theirs = sum(map(resident_mb, decoders))
                self.webs[web] = max(self.webs.get(web, 0.0), own)
                self.decoders_of[web] = max(self.decoders_of.get(web, 0.0), theirs)
                # One of them forks the others.
                self.decoders = max(self.decoders, len(decoders) - 1)
                total += own + theirs
            if total > self._limit_mb:
                self._on_limit()
