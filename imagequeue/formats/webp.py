"""WebP: a RIFF file, whose chunks have a type and a length."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imagequeue.errors import BadImage
from imagequeue.formats import orientation
from imagequeue.formats.essence import Essence

# An animation of a hundred seconds at a hundred frames a second has 10,000.
MAX_CHUNKS = 50_000

_HEAD = struct.Struct("<4sI")
_RIFF_BYTES = 12
_METADATA = frozenset({b"ICCP", b"EXIF", b"XMP "})


def is_webp(file: bytes) -> bool:
    return file[:4] == b"RIFF" and file[8:12] == b"WEBP"


def essence(file: bytes) -> Essence:
    """Raises BadImage for more chunks than are taken."""
    exif, xmp = orientation.UPRIGHT, orientation.UPRIGHT
    seen: set[bytes] = set()
    metadata_at, whole = None, _RIFF_BYTES
    for kind, at, end in _chunks(file):
        content = memoryview(file)[at + _HEAD.size : end]
        if kind == b"EXIF" and kind not in seen:
            exif = orientation.of_exif(bytes(content).removeprefix(b"Exif\0\0"))
        elif kind == b"XMP " and kind not in seen:
            xmp = orientation.of_xmp(bytes(content))
        seen.add(kind)
        metadata_at = at if kind in _METADATA else None
        whole = end
    if metadata_at is not None and whole > len(file):
        # Cut off in metadata at its end; libwebp would refuse the whole file.
        file = file[:4] + struct.pack("<I", metadata_at - 8) + file[8:metadata_at]
    return Essence(file, "WEBP", exif if exif != orientation.UPRIGHT else xmp, _size(file))


def _chunks(file: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type, the start and the end of each chunk; the end of one that is cut off is beyond the file's."""
    at = _RIFF_BYTES
    for _ in range(MAX_CHUNKS):
        if at + _HEAD.size > len(file):
            return
        kind, length = _HEAD.unpack_from(file, at)
        end = at + _HEAD.size + length
        yield kind, at, end
        # Each chunk starts at an even place.
        at = end + length % 2
    raise BadImage(f"The WebP has more than {MAX_CHUNKS} chunks.")


def _size(file: bytes) -> tuple[int, int] | None:
    """(width, height) of the canvas; libwebp allocates it as soon as a file is opened."""
    kind = file[12:16]
    if kind == b"VP8X" and len(file) >= 30:
        return int.from_bytes(file[24:27], "little") + 1, int.from_bytes(file[27:30], "little") + 1
    if kind == b"VP8L" and len(file) >= 25 and file[20] == 0x2F:
        bits = int.from_bytes(file[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(file) >= 30:
        width, height = struct.unpack_from("<HH", file, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
