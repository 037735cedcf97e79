"""TIFF files made entry by entry, and changed ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from PIL import Image

# Width, height, bits, compression, colours, strips' places, samples, rows, strips' lengths.
PLAIN = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
Values = dict[int, int | list[int]]


def tiff(entries: Values, content: bytes = bytes(64), *, order: str = "<", following: int = 0) -> bytes:
    """A file of one directory, whose entries are of 32 bits; content: at 8, before it. following: the next one's place.

    Of an entry 273 or 324, the place.
    """
    start = 8 + len(content)
    beyond = start + 2 + 12 * len(entries) + 4
    directory, extra = b"", b""
    for tag, value in sorted(entries.items()):
        values = value if isinstance(value, list) else [value]
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", beyond + len(extra)), extra + packed
        directory += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    count = struct.pack(order + "H", len(entries))
    return head + content + count + directory + struct.pack(order + "I", following) + extra


def arranged(image: Image.Image, *, planar: int = 1, order: str = "<", tile: int | None = None, bits: int = 8) -> bytes:
    """An RGB picture, uncompressed: in planes or not, in square tiles or in strips of seven rows, in either order."""
    width, height = image.size
    across, down = (tile, tile) if tile else (width, 7)
    parts = []
    for plane in image.split() if planar == 2 else (image,):
        for top in range(0, height, down):
            for left in range(0, width, across):
                bottom = top + down if tile else min(top + down, height)
                values = plane.crop((left, top, left + across, bottom)).tobytes()
                scale = 1 if bits == 8 else 257
                parts.append(struct.pack(f"{order}{len(values)}{'BH'[bits // 16]}", *(v * scale for v in values)))
    places = [8 + sum(map(len, parts[:number])) for number in range(len(parts))]
    where, length = (324, 325) if tile else (273, 279)
    how: Values = {322: tile, 323: tile} if tile else {278: down}
    return tiff(
        {256: width, 257: height, 258: [bits] * 3, 259: 1, 262: 2, 277: 3, 284: planar, **how}
        | {where: places, length: [len(part) for part in parts]},
        b"".join(parts),
        order=order,
    )


def changed(file: bytes, numbers: dict[int, int]) -> bytes:
    """A little-endian file, some of whose entries have other values."""
    (start,) = struct.unpack_from("<I", file, 4)
    changed = bytearray(file)
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(file[start : start + 2], "little"), 12):
        (tag,) = struct.unpack_from("<H", file, at)
        if tag in numbers:
            struct.pack_into("<HII", changed, at + 2, 4, 1, numbers[tag])
    return bytes(changed)


def without(file: bytes, tag: int) -> bytes:
    """A little-endian file, one of whose entries has a tag that means nothing."""
    (start,) = struct.unpack_from("<I", file, 4)
    changed = bytearray(file)
    for at in range(start + 2, start + 2 + 12 * int.from_bytes(file[start : start + 2], "little"), 12):
        if struct.unpack_from("<H", file, at) == (tag,):
            struct.pack_into("<H", changed, at, 65_000)
    return bytes(changed)


def lies() -> Iterator[tuple[str, bytes]]:
    yield "tiff without a directory", b"II*\0\xff\xff\xff\xff"
    yield (
        "tiff whose directory has 65,535 entries",
        b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 1, 1) * 65_535,
    )
    yield "tiff of no pixels", tiff({**PLAIN, 256: 0})
    yield "tiff with too few strips", tiff({**PLAIN, 278: 1})
    yield "tiff whose strip is beyond its end", tiff({**PLAIN, 273: 2**32 - 1})
    yield (
        "tiff of a million strips",
        tiff({**PLAIN, 257: 1_000_000, 278: 1, 273: [8] * 1_000_000, 279: [1] * 1_000_000}),
    )
    yield "tiff whose strips share their bytes", tiff({**PLAIN, 278: 1, 273: [8] * 8, 279: [400] * 8}, bytes(400))
    yield "tiff with tiles of 65,536 x 65,536", tiff({**PLAIN, 322: 65_536, 323: 65_536, 324: 8, 325: 64})
    yield "tiff with tiles of nothing", tiff({**PLAIN, 322: 0, 323: 0, 324: 8, 325: 64})
    yield "tiff of 65,535 samples", tiff({**PLAIN, 277: 65_535})
    for bits in (0, 3, 12, 32, 64):
        yield f"tiff of {bits} bits", tiff({**PLAIN, 258: bits})
    for compression in (0, 6, 34925, 50001, 65_535):
        yield f"tiff of compression {compression}", tiff({**PLAIN, 259: compression})
    for colours in (4, 8, 32803, 65_535):
        yield f"tiff of colours {colours}", tiff({**PLAIN, 262: colours})
