"""AVIF and HEIC files that are not what they say."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imagequeue.formats.isobmff import boxes
from imagequeue.formats.itemfile import Kept, written
from imagequeue.formats.items import Items

Lie = tuple[str, bytes, str]


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def with_size(file: bytes, width: int, height: int, which: int = 0) -> bytes:
    """The file with another size in one of its boxes ispe."""
    at = -1
    for _ in range(which + 1):
        at = file.index(b"ispe", at + 1)
    return file[: at + 8] + struct.pack(">II", width, height) + file[at + 16 :]


def with_properties(file: bytes, properties: list[tuple[bytes, bytes]]) -> bytes:
    """A HEIC of one picture without tiles, with these properties, kind and content, behind its own."""
    items = Items(file, next(part for part in boxes(file) if part.kind == b"meta"))
    picture = items[items.primary]
    own = [(box(kind, content), is_essential) for kind, content, is_essential in items.properties(picture)]
    own += [(box(kind, content), True) for kind, content in properties]
    return written(file, b"heic", [Kept(picture, picture.kind, tuple(own), (0, 0))], [])


def lies(file: bytes) -> Iterator[Lie]:
    """Of a file of one picture, 48 x 32: names, files, and what they ought to be."""
    yield "that claims 65,000 x 65,000", with_size(file, 65_000, 65_000), "bad"
    yield "that claims 2^32 x 2^32", with_size(file, 2**32 - 1, 2**32 - 1), "bad"
    yield "of no size", with_size(file, 0, 0), "bad"
    yield "whose picture is as large as it is not", with_size(file, 480, 320), "bad"
    stem = file[: int.from_bytes(file[:4], "big")]
    meta = file.index(b"meta") - 4
    end = meta + int.from_bytes(file[meta : meta + 4], "big")
    inner = file[meta + 12 : end]
    yield "without a picture", stem, "bad"
    yield "of a sequence alone", stem + box(b"moov", bytes(100)), "bad"
    yield "of 10,000 boxes", stem + box(b"free") * 10_000 + file[len(stem) :], "bad"
    yield "of 10,000 boxes inside", stem + box(b"meta", bytes(4), box(b"free") * 10_000, inner) + file[end:], "bad"
    nested = b""
    for _ in range(10_000):
        nested = box(b"meta", bytes(4), nested)
    yield "of 10,000 boxes in each other", stem + nested, "bad"
    yield "whose picture is not there", file.replace(b"pitm\0\0\0\0", b"pitm\0\0\0\0\xff\xff", 1), "bad"
    yield "with 65,535 items", stem + described(items=65_535), "bad"
    yield "that is a grid of itself", stem + described(kind=b"grid", refers=True), "bad"
    yield "that is an overlay", stem + described(kind=b"iovl"), "bad"
    yield "that is encrypted", stem + described(kind=b"av01", protection=1), "bad"


def described(*, kind: bytes = b"grid", items: int = 1, refers: bool = False, protection: int = 0) -> bytes:
    """A box meta of such items; the first of them is the picture, of 64 x 64 pixels, and refers to itself."""
    entries = b"".join(
        box(b"infe", struct.pack(">IHH", 0x02000000, number, protection), kind, b"\0") for number in range(1, items + 1)
    )
    grid = struct.pack(">BBBBHH", 0, 0, 0, 0, 64, 64)
    return box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", bytes(4), struct.pack(">H", 1)),
        box(b"iloc", b"\1\0\0\0", struct.pack(">HHHHHHII", 0x4400, 1, 1, 1, 0, 1, 0, len(grid))),
        box(b"iinf", bytes(4), struct.pack(">H", items % 65_536), entries),
        *([box(b"iref", bytes(4), box(b"dimg", struct.pack(">HHH", 1, 1, 1)))] if refers else []),
        box(
            b"iprp",
            box(b"ipco", box(b"ispe", bytes(4), struct.pack(">II", 64, 64))),
            box(b"ipma", bytes(4), struct.pack(">IHBB", 1, 1, 1, 1)),
        ),
        box(b"idat", grid),
    )
