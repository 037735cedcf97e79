"""A number for each of a server's processes, that all of them see: in memory they share since before their forks."""

from __future__ import annotations

import mmap
import struct

# More processes than live at the same time. Two that should ever write to one place are a wrong sum, and no harm: it
# only spares Redis a question.
PLACES = 64
_COUNT = struct.Struct("=i")
_ALL = struct.Struct(f"={PLACES}i")


class SharedCounts:
    """Make it before the fork; each process sets one place only."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _ALL.size)

    def set(self, place: int, count: int) -> None:
        """place: any number that is the process's own."""
        _COUNT.pack_into(self._memory, place % PLACES * _COUNT.size, count)

    def total(self) -> int:
        return sum(_ALL.unpack_from(self._memory))

    def least_elsewhere(self, place: int) -> int:
        """The smallest number of another process; 0 stands for no process, and if there is no other it is 0."""
        counts = list(_ALL.unpack_from(self._memory))
        counts[place % PLACES] = 0
        return min(filter(None, counts), default=0)
