"""Image files that are small and take long, or much memory, to decode; and one that is as images are."""

from __future__ import annotations

import functools
import struct
import zlib

from PIL import Image

from tests.support.pictures import encode
from tests.support.segments import SIGNATURE, jpeg_segment, png, png_chunk, png_chunks, png_header

MAX_UPLOAD_BYTES, MAX_IMAGE_PIXELS = 10 * 2**20, 50_000_000


@functools.cache
def ordinary_jpeg() -> bytes:
    """640 x 480 with some noise: 60 kB or so."""
    gradient = Image.linear_gradient("L").resize((640, 480))
    noise = Image.effect_noise((640, 480), 40)
    return encode(Image.merge("RGB", (gradient, noise, gradient.transpose(Image.Transpose.ROTATE_180))), "JPEG")


def many_scans(scans: int, side: int = 4000) -> bytes:
    """A grey progressive JPEG; each of its scans is 40 bytes that go over all of its blocks and change none.

    The only code of its AC table, one bit, stands for a run of 2^14 blocks that end here, and 14 bits of 0 follow it.
    """
    blocks = (-(-side // 8)) ** 2
    table = jpeg_segment(0xDB, b"\0" + b"\1" * 64)
    frame = jpeg_segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    one_code = b"\1" + bytes(15)
    codes = jpeg_segment(0xC4, b"\0" + one_code + b"\0") + jpeg_segment(0xC4, b"\x10" + one_code + b"\xe0")
    runs = -(-blocks // 2**14)
    scan = jpeg_segment(0xDA, b"\1\1\0\1\x3f\x10") + bytes(-(-runs * 15 // 8))
    return b"\xff\xd8" + table + frame + codes + scan * scans + b"\xff\xd9"


def zeros_png(width: int, height: int) -> bytes:
    """Grey, black, packed to a thousandth."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress((b"\0" + bytes(width)) * min(1000, height - row)) for row in range(0, height, 1000)]
    return png(png_header(width, height, colour=0), png_chunk(b"IDAT", b"".join(pieces) + packer.flush()))


def short_rows_bmp(width: int, height: int) -> bytes:
    """Run-length coded: each row is one pixel and the mark of its end; the decoder fills up the rest."""
    rows = b"\1\0\0\0" * height + b"\0\1"
    palette = bytes(4 * 256)
    offset = 14 + 40 + len(palette)
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + about + palette + rows


def many_segments(size: int = MAX_UPLOAD_BYTES - 4096) -> bytes:
    """A JPEG of hundreds of thousands of tiny Exif segments."""
    tiny = jpeg_segment(0xE1, b"Exif\0\0" + bytes(10))
    frame = jpeg_segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + b"\1\x11\0")
    return b"\xff\xd8" + tiny * (size // len(tiny)) + frame + b"\xff\xd9"


def many_chunks(size: int = MAX_UPLOAD_BYTES - 4096) -> bytes:
    """A PNG of hundreds of thousands of empty chunks that nobody knows."""
    first, *others = [png_chunk(*chunk) for chunk in png_chunks(encode(Image.new("L", (8, 8))))]
    empty = png_chunk(b"juNk", b"")
    return SIGNATURE + first + empty * (size // len(empty)) + b"".join(others)
