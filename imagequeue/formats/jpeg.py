"""JPEG: segments up to the first scan, then scans, then the end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagequeue.errors import BadImage
from imagequeue.formats import orientation
from imagequeue.formats.essence import Essence

SIGNATURE = b"\xff\xd8\xff"
EOI = b"\xff\xd9"
# Metadata of more than 64 kB take several segments; a file of 10 MiB full of them has 160.
MAX_SEGMENTS = 1000
# Encoders write about ten scans, and a script of one's own some dozens at most. A scan that says "nothing changes"
# takes 40 bytes of the file and a nanosecond of libjpeg for each pixel. So 100 scans are taken of a picture of up to 10
# megapixels, fewer of a larger one, and 20 of any.
MAX_SCANS, MAX_SCANS_OF_ANY, MAX_SCANNED_PIXELS = 100, 20, 1_000_000_000

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Markers that nothing follows: TEM, RST0 to RST7, SOI.
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SOS, _EOI, _COMMENT = 0xDA, 0xD9, 0xFE
# JFIF's and Adobe's say which colours the channels are.
_KEPT_APPS = frozenset({0xE0, 0xEE})
_APPS = frozenset(range(0xE0, 0xF0))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# What is no marker, any number of fill bytes, and the marker.
_NEXT = re.compile(rb"[^\xff]*\xff+([^\xff])", re.DOTALL)
# In a scan: neither an escaped byte nor a restart.
_MARKER = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")


@dataclass
class _Head:
    """What the segments before the first scan say."""

    parts: list[bytes | memoryview]
    size: tuple[int, int] | None = None
    channels: int = 0
    is_progressive: bool = False
    exif: bytes | None = None
    xmp: bytes | None = None


def essence(file: bytes) -> Essence:
    """Raises BadImage for more segments or scans than are taken, and for a file without any."""
    view = memoryview(file)
    head = _Head([view[:2]])
    start = _read_head(head, view, file)
    turned = orientation.of_exif(head.exif) if head.exif else orientation.UPRIGHT
    if turned == orientation.UPRIGHT and head.xmp:
        turned = orientation.of_xmp(head.xmp)
    # Thumbnails are in the head, so an end that is found behind it is this picture's, or of one that follows it.
    has_end = file.rfind(EOI, start) >= 0
    _check_scans(file, start, head, decodings=1 if has_end else 2)
    head.parts.append(view[start:])
    is_bare = sum(map(len, head.parts)) == len(file)
    return Essence(file if is_bare else b"".join(head.parts), "JPEG", turned, has_end=has_end)


def _read_head(head: _Head, view: memoryview, file: bytes) -> int:
    """Fill `head` with the segments before the first scan; where that begins."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        found = _NEXT.match(file, at)
        if found is None or found[1] == EOI[1:]:
            raise BadImage("The JPEG ends before its pixels.")
        marker, at = found[1][0], found.end()
        if marker in _ALONE or marker == 0:
            continue
        length = int.from_bytes(file[at : at + 2], "big")
        if length < 2 or at + length > len(file):
            raise BadImage("The JPEG is cut off before its pixels, or broken.")
        content = slice(at + 2, at + length)
        if marker == _SOS:
            return at - 2
        if marker in _APPS or marker == _COMMENT:
            _note(head, marker, bytes(view[content]))
        if marker in _SOF and length >= 8:
            head.size = int.from_bytes(file[at + 5 : at + 7], "big"), int.from_bytes(file[at + 3 : at + 5], "big")
            head.channels, head.is_progressive = file[at + 7], marker in _PROGRESSIVE
        if marker in _KEPT_APPS or (marker not in _APPS and marker != _COMMENT):
            head.parts.append(view[at - 2 : at + length])
        at += length
    raise BadImage(f"The JPEG has more than {MAX_SEGMENTS} segments before its pixels.")


def _note(head: _Head, marker: int, content: bytes) -> None:
    if marker == 0xE1 and head.exif is None and content.startswith(_EXIF):
        head.exif = content[len(_EXIF) :]
    elif marker == 0xE1 and head.xmp is None and content.startswith(_XMP):
        head.xmp = content[len(_XMP) :]


def _check_scans(file: bytes, start: int, head: _Head, *, decodings: int) -> None:
    """Raises BadImage for more scans than a picture of that size may have. start: of the first scan's marker.

    decodings: how often it is decoded; a picture without its end twice.
    """
    # Then libjpeg decodes one scan, whatever follows.
    is_one_scan = not head.is_progressive and file[start + 4 : start + 5] == bytes([head.channels])
    if is_one_scan or head.size is None:
        return
    pixels = max(1, head.size[0] * head.size[1])
    limit = min(MAX_SCANS, max(MAX_SCANS_OF_ANY, MAX_SCANNED_PIXELS // pixels)) // decodings
    scans, at = 0, start
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(file, at)
        if found is None or found[0] == EOI:
            return
        at, marker = found.end(), found[0][1]
        if marker == _SOS:
            scans += 1
        if scans > limit:
            raise BadImage(
                f"The JPEG has more than {limit} scans, which are the most that are taken of "
                f"{head.size[0]} x {head.size[1]} pixels."
            )
        if marker >= 0xC0 and marker not in _ALONE:
            at += int.from_bytes(file[at : at + 2], "big")
    raise BadImage(f"The JPEG has more than {MAX_SEGMENTS} segments between its scans.")
