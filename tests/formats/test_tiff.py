"""Of a TIFF a decoder sees one directory, whose lists are as long as the picture needs."""

from __future__ import annotations

import struct

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats import tiff
from tests.support import directories
from tests.support.directories import PLAIN
from tests.support.hostile import colours
from tests.support.pictures import encode


def tags(file: bytes) -> list[int]:
    """Those of the first directory, which must be the last one."""
    start = int.from_bytes(file[4:8], "little")
    count = int.from_bytes(file[start : start + 2], "little")
    assert file[start + 2 + 12 * count :][:4] == bytes(4)
    return [int.from_bytes(file[at : at + 2], "little") for at in range(start + 2, start + 2 + 12 * count, 12)]


def test_a_circle_of_directories_is_not_followed() -> None:
    essence = tiff.essence(directories.tiff(PLAIN, following=72))
    assert tags(essence.file) == sorted(PLAIN)
    assert essence.size == (8, 8)


def test_texts_and_thousands_of_values_are_left_out() -> None:
    file = directories.tiff({**PLAIN, 270: [0x20202020] * 100_000, 34665: 8, 274: 6, 330: [8] * 5000})
    essence = tiff.essence(file)
    assert tags(essence.file) == sorted(PLAIN)
    assert essence.orientation == 6


def test_of_an_entry_that_comes_twice_the_first_counts() -> None:
    file = bytearray(directories.tiff({**PLAIN, 255: 1}))
    (start,) = struct.unpack_from("<I", file, 4)
    struct.pack_into("<HHII", file, start + 2, 256, 4, 1, 4)
    assert tiff.essence(bytes(file)).size == (4, 8)


def test_a_big_tiff_is_written_as_a_small_one() -> None:
    entries = b"".join(
        struct.pack("<HHQQ", tag, 16, 1, 16 if tag == 273 else value) for tag, value in sorted(PLAIN.items())
    )
    file = b"II+\0\x08\0\0\0" + struct.pack("<Q", 80) + bytes(64) + struct.pack("<Q", len(PLAIN)) + entries + bytes(8)
    essence = tiff.essence(file)
    assert essence.file[:4] == b"II*\0"
    assert tags(essence.file) == sorted(PLAIN)


@pytest.mark.parametrize(("name", "file"), directories.lies(), ids=lambda value: value if type(value) is str else "")
def test_each_lie_is_refused(name: str, file: bytes) -> None:
    with pytest.raises(BadImage):
        tiff.essence(file)


@pytest.mark.parametrize("more", [{50706: 1}, {262: 32803}, {254: 1, 330: 8}])
def test_a_cameras_raw_data_are_named(more: dict[int, int | list[int]]) -> None:
    with pytest.raises(BadImage, match="camera's raw data"):
        tiff.essence(directories.tiff({**PLAIN, **more}))


def test_a_compression_that_is_not_read_is_named() -> None:
    with pytest.raises(BadImage, match="compressed by LZMA, which is not read here"):
        tiff.essence(encode(colours(), "TIFF", compression="lzma"))


def test_more_entries_than_are_taken_are_refused() -> None:
    file = directories.tiff(PLAIN | dict.fromkeys(range(1000, 1000 + tiff.MAX_ENTRIES), 1))
    with pytest.raises(BadImage, match="more than 1000 entries"):
        tiff.essence(file)


def test_scans_of_jpeg_are_counted_over_all_strips() -> None:
    scans = b"\xff\xda" * 101
    with pytest.raises(BadImage, match="more scans"):
        tiff.essence(directories.tiff({**PLAIN, 259: 7, 279: len(scans)}, scans))
