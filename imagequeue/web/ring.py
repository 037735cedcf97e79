"""The latest records of one process, in a file that is mapped into memory, so that its siblings can read them.

Only its own process writes to a ring; readers take no lock. Each record carries a checksum, which tells a reader that
it came while the record was being written, and that a slot was never used. What a process wrote outlives it.
"""

from __future__ import annotations

import itertools
import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_CHECKSUM = struct.Struct("<I")


class Ring:
    """`count` records of `size` bytes each, the oldest overwritten."""

    def __init__(self, size: int, count: int, file: Path | None = None) -> None:
        """file: made anew; without one only this process can read. Raises OSError."""
        self._slot = _CHECKSUM.size + size
        self._count = count
        self._numbers = itertools.count()
        length = self._slot * count
        if file is None:
            self._memory = mmap.mmap(-1, length)
        else:
            with open(file, "w+b") as opened:
                opened.truncate(length)
                self._memory = mmap.mmap(opened.fileno(), length)

    def add(self, record: bytes) -> None:
        """Safe in threads: a number is taken in one step of the interpreter, and a slot is written in one."""
        start = next(self._numbers) % self._count * self._slot
        self._memory[start : start + self._slot] = _CHECKSUM.pack(zlib.crc32(record)) + record

    def read(self) -> Iterator[bytes]:
        """Every whole record, in no particular order."""
        return records(self._memory[:], self._slot - _CHECKSUM.size)


def records(content: bytes, size: int) -> Iterator[bytes]:
    """The whole records in a ring's bytes, as another process has read them from its file."""
    slot = _CHECKSUM.size + size
    for start in range(0, len(content) - slot + 1, slot):
        record = content[start + _CHECKSUM.size : start + slot]
        if _CHECKSUM.unpack_from(content, start)[0] == zlib.crc32(record):
            yield record
