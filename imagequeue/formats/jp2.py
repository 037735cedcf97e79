"""JPEG 2000: a codestream, by itself or in a file of boxes (ISO/IEC 15444-1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imagequeue.errors import BadImage
from imagequeue.formats.essence import Essence
from imagequeue.formats.isobmff import Box, box, boxes

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
# The standard allows 65,535 tiles and 16,384 components. A decoder takes some kilobytes for each tile of each before it
# has read a pixel.
MAX_TILES, MAX_COMPONENTS = 1024, 4
# Of the header, to the first tile; and of the tiles' parts.
MAX_MARKERS, MAX_PARTS = 1_000, 10_000
# Each layer goes once more over all blocks, and each block takes memory of its own: of 16 x 16 pixels as much as those.
MAX_LAYERS, MIN_BLOCK_BITS, MIN_PRECINCT_BITS = 100, 10, 5
# What decoding takes for each pixel at the most, by the number of components; docs/internals.md has the measurements.
BYTES_PER_PIXEL = {1: 10, 2: 18, 3: 24, 4: 30}

_SIZE = struct.Struct(">HHIIIIIIIIH")
_COD, _COC, _SOT, _EOC = 0x52, 0x53, 0x90, 0xD9
_END = b"\xff\xd9"
# Those that a decoder's pixels depend on. Of colours by a profile the profile is left out, and none are told by it.
_KEPT = frozenset({b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef"})


def essence(file: bytes) -> Essence:
    """Raises BadImage for more of anything than is taken, and where a file's boxes and its pixels differ in size."""
    if file.startswith(CODESTREAM):
        size, components = _check(file, 0, len(file))
        return Essence(file, "JPEG2000", size=size, bytes_per_pixel=BYTES_PER_PIXEL[components])
    top: dict[bytes, Box] = {}
    for part in boxes(file):
        top.setdefault(part.kind, part)
        if part.kind == b"jp2c":
            break
    if b"jp2h" not in top or b"jp2c" not in top:
        raise BadImage("The JPEG 2000 ends before its pixels.")
    head = list(_head(file, top[b"jp2h"]))
    stream = top[b"jp2c"]
    size, components = _check(file, stream.start, stream.end)
    stated = next((content for kind, content in head if kind == b"ihdr"), b"")
    if len(stated) < 14 or struct.unpack_from(">II", stated) != (size[1], size[0]):
        raise BadImage(f"The JPEG 2000 says another size than its pixels have, {size[0]} x {size[1]}.")
    bare = b"".join(
        (
            SIGNATURE,
            box(b"ftyp", b"jp2 ", bytes(4), b"jp2 "),
            box(b"jp2h", *(box(kind, content) for kind, content in head)),
            struct.pack(">I4s", stream.end - stream.start + 8, b"jp2c"),
            memoryview(file)[stream.start : stream.end],
        )
    )
    return Essence(bare, "JPEG2000", size=size, bytes_per_pixel=BYTES_PER_PIXEL[components])


def _head(file: bytes, head: Box) -> Iterator[tuple[bytes, bytes]]:
    """The boxes that are kept, the first of each kind."""
    seen = set()
    for part in boxes(file, head.start, head.end):
        is_profile = part.kind == b"colr" and file[part.start : part.start + 1] != b"\1"
        if part.kind in _KEPT and part.kind not in seen and not is_profile:
            seen.add(part.kind)
            yield part.kind, file[part.start : part.end]


def _check(file: bytes, start: int, end: int) -> tuple[tuple[int, int], int]:
    """The (width, height) of a codestream, and its number of components (annex A). Raises BadImage."""
    at = start + len(CODESTREAM)
    if file[start:at] != CODESTREAM or at + _SIZE.size + 3 > len(file):
        raise BadImage("The JPEG 2000 ends before its pixels.")
    _, _, *edges, components = _SIZE.unpack_from(file, at)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = edges
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0 or not tile_width or not tile_height or tile_left > left or tile_top > top:
        raise BadImage("The JPEG 2000 has no pixels.")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MAX_TILES:
        raise BadImage(f"The JPEG 2000 has {tiles} tiles; at most {MAX_TILES} are taken.")
    if not 1 <= components <= MAX_COMPONENTS:
        raise BadImage(f"The JPEG 2000 has {components} components; at most {MAX_COMPONENTS} are taken.")
    each = file[at + _SIZE.size : at + _SIZE.size + 3 * components]
    for depth, across, down in zip(each[::3], each[1::3], each[2::3], strict=False):
        if depth & 0x7F > 15 or depth & 0x80 or not 1 <= across <= 4 or not 1 <= down <= 4:
            raise BadImage("The JPEG 2000 has a component of more than 16 bits, of signed ones, or of a few pixels.")
    _check_header(file, at)
    # No two bytes of pixels look like a marker.
    if file.rfind(_END, at, end) < 0:
        raise BadImage("The JPEG 2000 is cut off: some of its pixels are missing.")
    return (width, height), components


def _check_header(file: bytes, at: int) -> None:
    """at: of a marker's contents."""
    for _ in range(MAX_MARKERS):
        length = int.from_bytes(file[at : at + 2], "big")
        marker = file[at + length : at + length + 2]
        if length < 2 or len(marker) < 2 or marker[0] != 0xFF:
            raise BadImage("The JPEG 2000 is cut off before its pixels, or broken.")
        at += length + 2
        if marker[1] in (_SOT, _EOC):
            break
        if marker[1] == _COD and len(file) >= at + 12:
            if int.from_bytes(file[at + 4 : at + 6], "big") > MAX_LAYERS:
                raise BadImage(f"The JPEG 2000 has more than {MAX_LAYERS} layers.")
            _check_blocks(file, at + 7, has_precincts=bool(file[at + 2] & 1))
        if marker[1] == _COC and len(file) >= at + 9:
            _check_blocks(file, at + 4, has_precincts=bool(file[at + 3] & 1))
    else:
        raise BadImage(f"The JPEG 2000 has more than {MAX_MARKERS} markers before its pixels.")
    # Each part of a tile begins with one.
    if file.count(b"\xff\x90\0\x0a", at) > MAX_PARTS:
        raise BadImage(f"The JPEG 2000 has its tiles in more than {MAX_PARTS} parts.")


def _check_blocks(file: bytes, at: int, *, has_precincts: bool) -> None:
    """at: where the number of resolutions is, and then how large blocks and precincts are (A.6.1)."""
    levels = file[at]
    if (file[at + 1] & 15) + (file[at + 2] & 15) + 4 < MIN_BLOCK_BITS:
        raise BadImage("The JPEG 2000 has blocks of less than 32 x 32 pixels.")
    if has_precincts:
        sides = [side for both in file[at + 5 : at + 6 + levels] for side in (both & 15, both >> 4)]
        # Of the smallest resolutions they are as small as those.
        if any(side < MIN_PRECINCT_BITS for side in sides[-2:]):
            raise BadImage("The JPEG 2000 has precincts of less than 32 x 32 pixels.")
