"""TIFF: directories of entries, each of which says where in the file its values are (TIFF 6.0; BigTIFF).

What a decoder gets is the same file with another directory, the only one: of the entries that say how the first page's
pixels are stored, each counted and compared with the file's length. So no chain of directories, however long or closed
to a circle, is followed, and no list is longer than the picture has strips or tiles.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imagequeue.errors import BadImage
from imagequeue.formats import jpeg, orientation
from imagequeue.formats.essence import SMALL_TILE, Essence

# BigTIFF has places of 8 bytes; a photograph's directory has some dozens of entries.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_ENTRIES = 1000
# Of a picture's height at most as many rows, or tiles of 28 x 28 pixels of 50 megapixels.
MAX_PARTS = 65_536
# What decoding takes for each pixel at the most; docs/internals.md has the measurements.
BYTES_PER_PIXEL = 14

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _COLOURS = 273, 274, 277, 278, 279, 284, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SUB_DIRECTORIES = 322, 323, 324, 325, 330
_EXTRA, _FORMAT, _JPEG_TABLES, _SUBSAMPLING, _DNG = 338, 339, 347, 530, 50706
# Those of which a decoder needs the values, and how many of them it is given.
_KEPT = {
    _WIDTH: 1, _HEIGHT: 1, _BITS: 6, _COMPRESSION: 1, _PHOTOMETRIC: 1, 266: 1, _SAMPLES: 1, _ROWS: 1, _PLANAR: 1,
    292: 1, 293: 1, 317: 1, _COLOURS: 768, _TILE_WIDTH: 1, _TILE_HEIGHT: 1, 332: 1, _EXTRA: 6, _FORMAT: 6,
    _JPEG_TABLES: 65_536, 529: 3, _SUBSAMPLING: 2, 531: 1, 532: 6,
}  # fmt: skip
# Where the pixels are, and how long: of a picture in strips, and of one in tiles.
_LISTS = ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES))
_ASKED = {_SUBFILE, _ORIENTATION, _SUB_DIRECTORIES, _DNG}
# BYTE, SHORT, LONG, RATIONAL, UNDEFINED, IFD, LONG8, IFD8.
_TYPES = {1: "B", 3: "H", 4: "I", 5: "Q", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_SHORT, _LONG = 3, 4
# The others are written as LONG.
_KEPT_TYPES = {1, _SHORT, 5, 7}

_READ = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000}
_UNREAD = {
    6: "JPEG of the old style", 9: "JBIG", 10: "JBIG", 32809: "ThunderScan", 34676: "SGILog", 34661: "JBIG",
    34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
_UNCOMPRESSED, _OLD_JPEG, _JPEG = 1, 6, 7
_CFA, _LINEAR_RAW = 32803, 34892
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
# The samples that a picture has besides those that are not colours.
_COLOUR_SAMPLES = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_UNREAD_COLOURS = {4: "a mask", 8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*", 32844: "LogL", 32845: "LogLuv"}


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    at: int


def essence(file: bytes) -> Essence:
    """Raises BadImage for more of anything than is taken, for kinds that are not read, and for what is cut off."""
    order = "<" if file[:1] == b"I" else ">"
    entries = dict(_entries(file, order))
    values = {tag: _values(file, order, tag, entry) for tag, entry in entries.items() if tag in _KEPT or tag in _ASKED}
    width, height = _first(values, _WIDTH, 0), _first(values, _HEIGHT, 0)
    if not width or not height:
        raise BadImage("The TIFF has no pixels.")
    _check_kind(file, values)
    parts = _parts(file, order, entries, values, (width, height))
    if _first(values, _COMPRESSION, 1) == _JPEG:
        _check_scans(file, parts, width * height)
    turned = _first(values, _ORIENTATION, orientation.UPRIGHT)
    return Essence(
        _written(file, order, entries, values, parts),
        "TIFF",
        turned if 1 <= turned <= 8 else orientation.UPRIGHT,
        (width, height),
        bytes_per_pixel=BYTES_PER_PIXEL,
    )


def _entries(file: bytes, order: str) -> Iterator[tuple[int, _Entry]]:
    """Those of the first directory; of several of one tag the first, which comes last."""
    try:
        if file[2:4] in (b"+\0", b"\0+"):
            (start,) = struct.unpack_from(order + "Q", file, 8)
            (count,) = struct.unpack_from(order + "Q", file, start)
            start, entry = start + 8, struct.Struct(order + "HHQ")
        else:
            (start,) = struct.unpack_from(order + "I", file, 4)
            (count,) = struct.unpack_from(order + "H", file, start)
            start, entry = start + 2, struct.Struct(order + "HHI")
        if count > MAX_ENTRIES:
            raise BadImage(f"The TIFF has more than {MAX_ENTRIES} entries in its directory.")
        # A value, or where there are more than fit in, their place, is as long as the count is.
        own = entry.size - 4
        for at in reversed(range(start, start + count * (entry.size + own), entry.size + own)):
            tag, kind, number = entry.unpack_from(file, at)
            if kind in _TYPES:
                inside = number * struct.calcsize(_TYPES[kind]) <= own
                place = (
                    at + entry.size if inside else struct.unpack_from(order + "IQ"[own // 8], file, at + entry.size)[0]
                )
                yield tag, _Entry(kind, number, place)
    except (struct.error, OverflowError) as error:
        raise BadImage("The TIFF is cut off, or broken: its directory is not there.") from error


def _values(file: bytes, order: str, tag: int, entry: _Entry, most: int | None = None) -> tuple[int, ...]:
    """Those of an entry, `most` or as many as a decoder is given."""
    count = min(entry.count, most or _KEPT.get(tag, 1))
    try:
        return struct.unpack_from(f"{order}{count}{_TYPES[entry.kind]}", file, entry.at)
    except (struct.error, OverflowError) as error:
        raise BadImage("The TIFF is cut off, or broken: a directory's values are not there.") from error


def _first(values: dict[int, tuple[int, ...]], tag: int, default: int) -> int:
    return values[tag][0] if values.get(tag) else default


def _check_kind(file: bytes, values: dict[int, tuple[int, ...]]) -> None:
    """Raises BadImage for what is not read, by its name."""
    compression, colours = _first(values, _COMPRESSION, 1), _first(values, _PHOTOMETRIC, 0)
    samples, bits = _first(values, _SAMPLES, 1), values.get(_BITS) or (1,)
    is_preview = _SUB_DIRECTORIES in values and (_first(values, _SUBFILE, 0) & 1 or compression == _OLD_JPEG)
    if _DNG in values or colours in (_CFA, _LINEAR_RAW) or file[8:10] == b"CR" or is_preview:
        raise BadImage("The file is a camera's raw data (DNG, NEF, CR2, ARW, …), which are not read here.")
    if compression not in _READ:
        name = _UNREAD.get(compression, f"a kind {compression}")
        raise BadImage(f"The TIFF is compressed by {name}, which is not read here; send it as Deflate, LZW or JPEG.")
    formats = set(values.get(_FORMAT) or (1,))
    if colours not in _COLOUR_SAMPLES:
        name = _UNREAD_COLOURS.get(colours, f"a kind {colours}")
        raise BadImage(f"The TIFF has colours of {name}, which are not read here; RGB, grey, palettes and CMYK are.")
    if formats != {1}:
        raise BadImage("The TIFF has samples that are fractions or signed, which have no brightness by themselves.")
    is_deep_white = colours == _WHITE_IS_ZERO and bits[0] == 16
    if len(set(bits)) > 1 or bits[0] not in (1, 2, 4, 8, 16) or is_deep_white:
        raise BadImage("The TIFF has samples of a depth that is not read here; 1, 2, 4, 8 and 16 bits are.")
    if not _COLOUR_SAMPLES[colours] <= samples <= _KEPT[_BITS]:
        raise BadImage(f"The TIFF has {samples} samples for each pixel, which are not as many as its colours need.")


def _parts(
    file: bytes,
    order: str,
    entries: dict[int, _Entry],
    values: dict[int, tuple[int, ...]],
    size: tuple[int, int],
) -> list[tuple[int, int]]:
    """Where in the file each strip or tile begins, and how long it is."""
    width, height = size
    planes = _first(values, _SAMPLES, 1) if _first(values, _PLANAR, 1) == 2 else 1
    is_tiled = _TILES in entries
    if is_tiled:
        across, down = (_first(values, tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        if not 0 < across <= max(width, SMALL_TILE) + 16 or not 0 < down <= max(height, SMALL_TILE) + 16:
            raise BadImage("The TIFF has tiles that are larger than the picture, or of no size.")
    else:
        across, down = width, min(height, _first(values, _ROWS, height) or height)
    count = -(-width // across) * -(-height // down) * planes
    if count > MAX_PARTS:
        raise BadImage(f"The TIFF has {count} strips or tiles; at most {MAX_PARTS} are taken.")
    lists = []
    for tag in _LISTS[is_tiled]:
        if tag in entries and entries[tag].count >= count:
            lists.append(_values(file, order, tag, entries[tag], count))
        elif tag in (_STRIP_BYTES, _TILE_BYTES) and tag not in entries and _has_known_lengths(values):
            lists.append(_lengths(values, (across, down), height, count // planes, is_tiled) * planes)
        else:
            raise BadImage("The TIFF does not say where all of its pixels are, and how long.")
    parts = list(zip(*lists, strict=True))
    if any(start + length > len(file) or not length for start, length in parts):
        raise BadImage("The TIFF is cut off: some of its pixels are missing.")
    if sum(length for _, length in parts) > 2 * len(file):
        raise BadImage("The TIFF has strips or tiles of more bytes than the file has.")
    return parts


def _has_known_lengths(values: dict[int, tuple[int, ...]]) -> bool:
    """Whether a strip's or tile's length follows from its size: uncompressed, and its colours as fine as its grey."""
    return _first(values, _COMPRESSION, 1) == _UNCOMPRESSED and _first(values, _PHOTOMETRIC, 0) != _YCBCR


def _lengths(
    values: dict[int, tuple[int, ...]], size: tuple[int, int], height: int, count: int, is_tiled: bool
) -> tuple[int, ...]:
    """Of one plane's uncompressed strips or tiles of this size, which some old programs leave out; libtiff does this,
    too. Of a strip that reaches beyond the picture only the rows inside are stored.
    """
    across, down = size
    samples = 1 if _first(values, _PLANAR, 1) == 2 else _first(values, _SAMPLES, 1)
    row = -(-across * samples * (values.get(_BITS) or (1,))[0] // 8)
    return tuple(row * (down if is_tiled else min(down, height - number * down)) for number in range(count))


def _check_scans(file: bytes, parts: list[tuple[int, int]], pixels: int) -> None:
    """Raises BadImage for more scans in JPEG strips or tiles than a JPEG of that size may have; see jpeg."""
    scanned, each = 0, -(-pixels // len(parts))
    for start, length in parts:
        scans = file.count(b"\xff\xda", start, start + length)
        scanned += scans * each
        if scans > jpeg.MAX_SCANS or scanned > max(jpeg.MAX_SCANNED_PIXELS, jpeg.MAX_SCANS_OF_ANY * pixels):
            raise BadImage("The TIFF has more scans in its JPEG data than are taken.")


def _written(
    file: bytes,
    order: str,
    entries: dict[int, _Entry],
    values: dict[int, tuple[int, ...]],
    parts: list[tuple[int, int]],
) -> bytes:
    """The file with its new directory at the end."""
    start = len(file) + len(file) % 2
    kept = {tag: (entries[tag].kind, found) for tag, found in values.items() if tag in _KEPT and found}
    if _COLOURS in kept and max(kept[_COLOURS][1]) < 256:
        # Some programs write 8 bits there, where 16 are meant.
        kept[_COLOURS] = (_SHORT, tuple(value * 257 for value in kept[_COLOURS][1]))
    for tag, found in zip(_LISTS[_TILES in entries], zip(*parts, strict=True), strict=True):
        kept[tag] = (_LONG, found)
    directory, extra = [], []
    beyond = start + 2 + 12 * len(kept) + 4
    for tag, (kind, found) in sorted(kept.items()):
        kind = kind if kind in _KEPT_TYPES else _LONG
        try:
            content = struct.pack(f"{order}{len(found)}{_TYPES[kind]}", *found)
        except struct.error as error:
            raise BadImage("The TIFF has a number that is too large.") from error
        value = content.ljust(4, b"\0")
        if len(content) > 4:
            value = struct.pack(order + "I", beyond)
            extra.append(content + bytes(len(content) % 2))
            beyond += len(extra[-1])
        directory.append(struct.pack(order + "HHI", tag, kind, len(found)) + value)
    return b"".join(
        (
            file[:2] + struct.pack(order + "HI", 42, start),
            memoryview(file)[8:],
            bytes(len(file) % 2),
            struct.pack(order + "H", len(kept)),
            *directory,
            bytes(4),
            *extra,
        )
    )
