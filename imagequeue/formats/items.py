"""The pictures of an AVIF or HEIC file, called items, as its box `meta` describes them (ISO/IEC 14496-12, 23008-12).

A photograph of a telephone has hundreds: tiles, thumbnails, maps of depth and of gain, metadata. All are listed here,
and nothing of them is read; who needs one asks for its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from imagequeue.errors import BadImage
from imagequeue.formats.isobmff import Box, Fields, boxes

# 48 megapixels in tiles of 512 x 512 are 192, each of which may have a second one for its gain.
MAX_ITEMS, MAX_EXTENTS = 2_000, 10_000
# Of one item, and in all: each tile has half a dozen.
MAX_PROPERTIES, MAX_ASSOCIATIONS = 32, 20_000

_IDAT = 1


class Property(NamedTuple):
    """is_essential: who does not know it must not show the item."""

    kind: bytes
    content: bytes
    is_essential: bool


@dataclass
class Item:
    """One picture, or what describes some. is_here: its bytes are in the file. extents: their places. references: by
    type, to items.
    """

    kind: bytes = b""
    is_here: bool = True
    extents: list[tuple[int, int]] = field(default_factory=list)
    associations: list[tuple[int, bool]] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)


class Items:
    """The items of a file by their numbers, and which of them is the picture to show."""

    def __init__(self, file: bytes, meta: Box) -> None:
        """Raises BadImage for more of anything than is taken, and for what is cut off or broken."""
        self._file = file
        self._items: dict[int, Item] = {}
        self._properties: list[Box] = []
        # By their places, so that what thousands of items share is copied once.
        self._contents: dict[int, bytes] = {}
        self.primary = 0
        self._idat: Box | None = None
        # The box has a version and flags in front of its boxes.
        found = {part.kind: part for part in boxes(file, meta.start + 4, meta.end)}
        self._idat = found.get(b"idat")
        for kind, read in (
            (b"pitm", self._read_primary),
            (b"iinf", self._read_kinds),
            (b"iloc", self._read_extents),
            (b"iref", self._read_references),
            (b"iprp", self._read_properties),
        ):
            if kind in found:
                read(found[kind])
            elif kind != b"iref":
                raise BadImage(f"The file has no picture that can be found in it: no box {kind.decode()}.")

    def __getitem__(self, number: int) -> Item:
        if number not in self._items:
            raise BadImage("The file has not the picture of which it says that it is to be shown.")
        return self._items[number]

    def content(self, item: Item) -> bytes:
        """The item's bytes. Raises BadImage where they are not all there."""
        if not item.is_here:
            raise BadImage("The file is cut off, or has its picture elsewhere.")
        if sum(end - start for start, end in item.extents) > len(self._file):
            raise BadImage("The file has a picture of more bytes than the file has.")
        return b"".join(self._file[start:end] for start, end in item.extents)

    def properties(self, item: Item) -> Iterator[Property]:
        """Those of the item, in their order."""
        for place, is_essential in item.associations:
            # 0 stands for none.
            if place:
                if place > len(self._properties):
                    raise BadImage("The file lacks a property that one of its pictures has.")
                found = self._properties[place - 1]
                if place not in self._contents:
                    self._contents[place] = self._file[found.start : found.end]
                yield Property(found.kind, self._contents[place], is_essential)

    def referring(self, kind: bytes, to: int) -> Iterator[int]:
        """The numbers of the items that refer to one in this way."""
        return (number for number, item in self._items.items() if to in item.references.get(kind, ()))

    def _new(self, number: int) -> Item:
        if number not in self._items and len(self._items) >= MAX_ITEMS:
            raise BadImage(f"The file has more than {MAX_ITEMS} items.")
        return self._items.setdefault(number, Item())

    def _fields(self, part: Box) -> Fields:
        return Fields(self._file, part.start, part.end)

    def _read_primary(self, part: Box) -> None:
        fields = self._fields(part)
        version, _ = fields.version()
        self.primary = fields.number(4 if version else 2)

    def _read_kinds(self, part: Box) -> None:
        version = self._file[part.start]
        for entry in boxes(self._file, part.start + (8 if version else 6), part.end):
            fields = self._fields(entry)
            version, _ = fields.version()
            if entry.kind == b"infe" and version in (2, 3):
                number = fields.number(2 if version == 2 else 4)
                # Not zero for one that is encrypted.
                protection = fields.number(2)
                self._new(number).kind = fields.bytes(4) if not protection else b""

    def _read_extents(self, part: Box) -> None:
        fields, left = self._fields(part), MAX_EXTENTS
        version, _ = fields.version()
        sizes = fields.number(2)
        offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        for _ in range(fields.number(2 if version < 2 else 4)):
            item = self._new(fields.number(2 if version < 2 else 4))
            method = fields.number(2) & 15 if version else 0
            fields.number(2)
            base = fields.number(base_size)
            count = fields.number(2)
            left -= count
            if left < 0:
                raise BadImage(f"The file has its pictures in more than {MAX_EXTENTS} parts.")
            extents = []
            for _ in range(count):
                fields.number(index_size if version else 0)
                offset = fields.number(offset_size)
                extents.append(self._place(method, base + offset, fields.number(length_size)))
            item.extents = [place for place in extents if place is not None]
            # An item that is missing is reported only when its content is requested.
            item.is_here = len(item.extents) == count

    def _place(self, method: int, offset: int, length: int) -> tuple[int, int] | None:
        """Of an extent, in the file; None where it is not in there."""
        first, end = 0, len(self._file)
        if method == _IDAT and self._idat is not None:
            first, end = self._idat.start, self._idat.end
        elif method != 0:
            return None
        start = first + offset
        # Without a length it goes on to the end.
        stop = start + length if length else end
        return (start, stop) if start < stop <= end else None

    def _read_references(self, part: Box) -> None:
        size = 4 if self._file[part.start] else 2
        left = MAX_ITEMS * 4
        for entry in boxes(self._file, part.start + 4, part.end):
            fields = self._fields(entry)
            item = self._new(fields.number(size))
            count = fields.number(2)
            left -= count
            if left < 0:
                raise BadImage(f"The file has more than {MAX_ITEMS * 4} references between its pictures.")
            item.references.setdefault(entry.kind, []).extend(fields.number(size) for _ in range(count))

    def _read_properties(self, part: Box) -> None:
        left = MAX_ASSOCIATIONS
        for inner in boxes(self._file, part.start, part.end):
            if inner.kind == b"ipco":
                self._properties = list(boxes(self._file, inner.start, inner.end))
            elif inner.kind == b"ipma":
                fields = self._fields(inner)
                version, flags = fields.version()
                size = 2 if flags & 1 else 1
                for _ in range(fields.number(4)):
                    item = self._new(fields.number(4 if version else 2))
                    count = fields.number(1)
                    left -= count
                    if count > MAX_PROPERTIES or left < 0:
                        raise BadImage(f"A picture of the file has more than {MAX_PROPERTIES} properties.")
                    top = 1 << 8 * size - 1
                    words = [fields.number(size) for _ in range(count)]
                    item.associations = [(word & top - 1, bool(word & top)) for word in words]
