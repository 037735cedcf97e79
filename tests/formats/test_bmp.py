"""Runs of a BMP are unpacked in Python, so a file of runs may be only so large."""

from __future__ import annotations

import struct

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats import bmp


def rle(width: int, height: int, data: bytes, *, bits: int = 8, compression: int = 1) -> bytes:
    palette = bytes(range(256)) * 4
    offset = 54 + len(palette)
    head = struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 256, 0)
    return b"BM" + head + info + palette + data


@pytest.mark.parametrize(("bits", "compression"), [(8, 1), (4, 2)])
def test_a_file_of_runs_is_taken_up_to_its_bounds(bits: int, compression: int) -> None:
    assert bmp.essence(rle(2000, 2000, b"\0\1", bits=bits, compression=compression))
    with pytest.raises(BadImage, match="2000 x 2001 pixels; at most 4000000"):
        bmp.essence(rle(2000, 2001, b"\0\1", bits=bits, compression=compression))
    with pytest.raises(BadImage, match="2000 x 2001 pixels"):
        bmp.essence(rle(2000, -2001, b"\0\1", bits=bits, compression=compression))
    with pytest.raises(BadImage, match=r"1001080 bytes; at most 1000000"):
        bmp.essence(rle(20, 20, bytes(1_000_002), bits=bits, compression=compression))


def test_a_file_of_plain_rows_has_no_bounds_of_its_own() -> None:
    assert bmp.essence(rle(5000, 5000, b"", compression=0))
    assert bmp.essence(b"BM")
