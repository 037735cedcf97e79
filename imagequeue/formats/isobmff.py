"""Boxes, of which AVIF, HEIC and JP2 files are made (ISO/IEC 14496-12; ISO/IEC 15444-1, annex I).

A box has a length, a type of four letters and contents; some contain boxes again. Nothing here descends by itself: who
reads a format says which boxes it enters, so no nesting is deeper than its code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from imagequeue.errors import BadImage

# A photograph of a telephone has a dozen boxes in its file, two dozen where its items are described, and some dozens of
# properties.
MAX_BOXES = 5_000

_HEAD = struct.Struct(">I4s")


class Box(NamedTuple):
    """Of a file: the type, where its contents begin, and where it ends."""

    kind: bytes
    start: int
    end: int


def boxes(file: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes between two places of a file. One that is cut off ends at `end`, and so does a broken one.

    Raises BadImage for more than are taken.
    """
    at, end = start, len(file) if end is None else end
    for _ in range(MAX_BOXES):
        if at + _HEAD.size > end:
            return
        length, kind = _HEAD.unpack_from(file, at)
        content = at + _HEAD.size
        if length == 1 and content + 8 <= end:
            length, content = int.from_bytes(file[content : content + 8], "big"), content + 8
        # 0: up to the end.
        stop = end if length == 0 else min(at + length, end)
        if stop < content:
            return
        yield Box(kind, content, stop)
        at = stop
    raise BadImage(f"The file has more than {MAX_BOXES} boxes.")


def box(kind: bytes, *content: bytes | memoryview) -> bytes:
    """A box of this type."""
    return b"".join((_HEAD.pack(_HEAD.size + sum(map(len, content)), kind), *content))


class Fields:
    """Numbers of a file, one after the other, big-endian. Raises BadImage beyond `end`."""

    def __init__(self, file: bytes, start: int, end: int) -> None:
        self._file, self._at, self._end = file, start, end

    def number(self, size: int) -> int:
        """Of so many bytes; 0 where there are none."""
        return int.from_bytes(self.bytes(size), "big")

    def bytes(self, size: int) -> bytes:
        at, self._at = self._at, self._at + size
        if self._at > self._end:
            raise BadImage("The file is cut off, or a box of it is broken.")
        return self._file[at : self._at]

    def version(self) -> tuple[int, int]:
        """The version and the flags, with which some boxes begin."""
        return self.number(1), self.number(3)
