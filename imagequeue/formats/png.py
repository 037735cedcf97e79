"""PNG: chunks, each with its type, its length and a checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from imagequeue.errors import BadImage
from imagequeue.formats import orientation
from imagequeue.formats.essence import Essence

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Encoders write pixels in chunks of 8 kB or more: a file of 10 MiB has 1,300.
MAX_CHUNKS = 50_000
# As much of a compressed text is unpacked: EXIF is 64 kB at most, and twice that as hexadecimal digits.
MAX_TEXT = 256 * 1024

_HEAD = struct.Struct(">I4s")
_FRAME_BYTES = 12
# Where IHDR, always the first chunk, has them.
_DEPTH, _COLOUR = 24, 25
_METADATA = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
# The chunk for EXIF, EXIF as ImageMagick writes it, and XMP; where they differ, the first counts.
_NAMES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
# How long the transparency may be, by colour type; and where Pillow compares its colour with pixels of another scale.
_TRANSPARENCY = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}
_OF_ANOTHER_SCALE = {(0, 2), (0, 4), (0, 16), (2, 16)}


def essence(file: bytes) -> Essence:
    """Raises BadImage for more chunks than are taken."""
    view = memoryview(file)
    kept = [slice(0, len(SIGNATURE))]
    # By name, the first of each: unpacking thousands would take a second for each megabyte.
    metadata: dict[bytes, int] = {}
    for kind, at, end in _chunks(file):
        content = view[at + 8 : end - 4]
        # Types of lower case are of metadata.
        is_needed = not kind[0] & 0x20
        if kind == b"tRNS":
            is_needed = _is_intact(view[at:end]) and _is_right_transparency(file, len(content))
        elif kind in _METADATA and (name := _name(kind, content)) in _NAMES and name not in metadata:
            metadata[name] = _orientation(kind, content, name) if _is_intact(view[at:end]) else orientation.UPRIGHT
        if is_needed and kept[-1].stop == at:
            kept[-1] = slice(kept[-1].start, end)
        elif is_needed:
            kept.append(slice(at, end))
    turned = next((metadata[name] for name in _NAMES if metadata.get(name, 1) != 1), orientation.UPRIGHT)
    bare = file if len(kept) == 1 else b"".join(view[part] for part in kept)
    return Essence(bare, "PNG", turned)


def _is_right_transparency(file: bytes, length: int) -> bool:
    """Whether a transparency of so many bytes is one of this file's kind, and shows as it should."""
    if len(file) < _COLOUR + 1:
        return False
    depth, colour = file[_DEPTH], file[_COLOUR]
    return length in _TRANSPARENCY.get(colour, ()) and (colour, depth) not in _OF_ANOTHER_SCALE


def _chunks(file: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type, the start and the end of each chunk up to the last; of one that is cut off the end of the file."""
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at + _HEAD.size > len(file):
            return
        length, kind = _HEAD.unpack_from(file, at)
        end = min(at + length + _FRAME_BYTES, len(file))
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise BadImage(f"The PNG has more than {MAX_CHUNKS} chunks.")


def _is_intact(chunk: memoryview) -> bool:
    """It is whole and its checksum is right; one of metadata that is not is left out, as libpng does."""
    length = int.from_bytes(chunk[:4], "big")
    return len(chunk) == length + _FRAME_BYTES and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _name(kind: bytes, content: memoryview) -> bytes:
    """Which of `_NAMES` it is, or another."""
    return kind if kind == b"eXIf" else bytes(content[:30]).partition(b"\0")[0]


def _orientation(kind: bytes, content: memoryview, name: bytes) -> int:
    if kind == b"eXIf":
        return orientation.of_exif(bytes(content).removeprefix(b"Exif\0\0"))
    text = bytes(content[len(name) + 1 :])
    try:
        if kind == b"zTXt":
            text = _unpacked(text[1:])
        elif kind == b"iTXt":
            # Between the flags and the text are a language and the name in it.
            is_packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[2]
            text = _unpacked(text) if is_packed else text
        if name == _NAMES[2]:
            return orientation.of_xmp(text)
        # A headline, the length, and the bytes as hexadecimal digits in lines.
        digits = b"".join(text[:MAX_TEXT].split()[2:])
        exif = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    except (ValueError, IndexError, zlib.error):
        return orientation.UPRIGHT
    return orientation.of_exif(exif.removeprefix(b"Exif\0\0"))


def _unpacked(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(packed, MAX_TEXT)
