"""Image files taken apart and put together: PNG chunks, JPEG segments."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Markers that stand alone, without a length.
_BARE = {0xD8, 0xD9, 0x01, *range(0xD0, 0xD8)}


def png_chunk(kind: bytes, content: bytes, *, length: int | None = None) -> bytes:
    """One chunk with a right checksum; `length`: what it says of itself, if that is to be a lie."""
    stated = len(content) if length is None else length
    return struct.pack(">I", stated) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + png_chunk(b"IEND", b"")


def png_chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of each chunk."""
    found, at = [], len(SIGNATURE)
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        found.append((file[at + 4 : at + 8], file[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_segments(file: bytes) -> list[bytes]:
    """The segments up to the first scan, each with its marker, and the scans as one last piece."""
    found, at = [], 0
    while at < len(file):
        marker = file[at + 1]
        if marker in _BARE:
            length = 2
        elif marker == 0xDA:
            length = len(file) - at
        else:
            length = 2 + int(struct.unpack(">H", file[at + 2 : at + 4])[0])
        found.append(file[at : at + length])
        at += length
    return found


def riff_chunks(file: bytes) -> list[bytes]:
    """The chunks of a WebP file, each with its head."""
    found, at = [], 12
    while at < len(file):
        length = 8 + int(struct.unpack("<I", file[at + 4 : at + 8])[0])
        length += length % 2
        found.append(file[at : at + length])
        at += length
    return found


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def boundaries(pieces: list[bytes], start: int = 0) -> list[int]:
    """Where each piece ends."""
    ends, at = [], start
    for piece in pieces:
        at += len(piece)
        ends.append(at)
    return ends
