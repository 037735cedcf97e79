"""An AVIF or HEIC file written anew, of a few items of another one (ISO/IEC 14496-12, 23008-12)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from imagequeue.formats.isobmff import box
from imagequeue.formats.items import Item

# The sizes, in bytes, of the places and the lengths in the box iloc.
_SIZES = 0x4400


@dataclass(frozen=True)
class Kept:
    """An item of the new file. properties: boxes, and whether they are essential. size: (width, height) in pixels."""

    item: Item
    kind: bytes
    properties: tuple[tuple[bytes, bool], ...]
    size: tuple[int, int]


# Of which kind, from which of the new items, to which.
Reference = tuple[bytes, int, list[int]]


def written(file: bytes, brand: bytes, kept: list[Kept], references: list[Reference]) -> bytes:
    """The new file: these items, numbered from 1 on, of which the first is the picture. Equal bytes are there once."""
    places: dict[tuple[tuple[int, int], ...], tuple[int, int]] = {}
    media: list[memoryview] = []
    length = 0
    for one in kept:
        key = tuple(one.item.extents)
        if key not in places:
            media += [memoryview(file)[start:end] for start, end in key]
            places[key] = length, sum(end - start for start, end in key)
            length += places[key][1]
    found = [places[tuple(one.item.extents)] for one in kept]
    # Where the media begin depends on how long that is which says where they begin.
    start = len(_head(brand, kept, references, found, 0)) + 8
    head = _head(brand, kept, references, found, start)
    return b"".join((head, struct.pack(">I4s", 8 + length, b"mdat"), *media))


def _head(brand: bytes, kept: list[Kept], references: list[Reference], found: list[tuple[int, int]], at: int) -> bytes:
    """What is before the media. found: where in them each item is, and how long. at: where they begin."""
    count = len(kept)
    located = b"".join(
        struct.pack(">HHHII", number, 0, 1, at + place, length) for number, (place, length) in enumerate(found, 1)
    )
    kinds = b"".join(
        box(b"infe", struct.pack(">IHH", 0x02000000, number, 0), one.kind, b"\0") for number, one in enumerate(kept, 1)
    )
    refers = b"".join(box(kind, struct.pack(f">HH{len(to)}H", own, len(to), *to)) for kind, own, to in references)
    parts = [
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", bytes(4), struct.pack(">H", 1)),
        box(b"iloc", bytes(4), struct.pack(">HH", _SIZES, count), located),
        box(b"iinf", bytes(4), struct.pack(">H", count), kinds),
        _properties(kept),
    ]
    if refers:
        parts.append(box(b"iref", bytes(4), refers))
    return box(b"ftyp", brand, bytes(4), b"mif1miaf", brand) + box(b"meta", bytes(4), *parts)


def _properties(kept: list[Kept]) -> bytes:
    """The box of them all, each there once, and of which item has which."""
    index = {part: 0 for one in kept for part, _ in one.properties}
    index = {part: place for place, part in enumerate(index, 1)}
    owned = b"".join(
        struct.pack(">HB", number, len(one.properties))
        + b"".join(struct.pack(">H", index[part] | is_essential << 15) for part, is_essential in one.properties)
        for number, one in enumerate(kept, 1)
    )
    return box(b"iprp", box(b"ipco", *index), box(b"ipma", struct.pack(">II", 1, len(kept)), owned))
