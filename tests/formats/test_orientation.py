"""The orientation is found where cameras put it, and nothing else in the metadata is looked at."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from imagequeue.formats import orientation


def entry(tag: int, kind: int, value: int, order: str = "<") -> bytes:
    stored = {1: "B3x", 3: "H2x", 4: "I"}.get(kind, "I")
    return struct.pack(order + "HHI" + stored, tag, kind, 1, value)


def exif(*entries: bytes, order: str = "<", count: int | None = None) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", len(entries) if count is None else count) + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_an_orientation_is_read_in_either_byte_order_and_as_any_whole_number(order: str, kind: int) -> None:
    assert orientation.of_exif(exif(entry(0x10F, 4, 7, order), entry(0x112, kind, 6, order), order=order)) == 6


def test_what_pillow_writes_is_read() -> None:
    written = Image.Exif()
    written[0x010F] = "a camera"
    written[0x0112] = 8
    assert orientation.of_exif(written.tobytes().removeprefix(b"Exif\0\0")) == 8


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"garbage!",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0",
        exif(entry(0x10F, 4, 7), count=60_000),
        exif(entry(0x112, 3, 0)),
        exif(entry(0x112, 3, 9)),
        exif(entry(0x112, 5, 6)),
        exif(entry(0x112, 3, 6).replace(b"\1\0\0\0", b"\2\0\0\0")),
    ],
)
def test_broken_exif_turns_nothing(broken: bytes) -> None:
    assert orientation.of_exif(broken) == 1


def test_entries_behind_the_bound_are_not_looked_at() -> None:
    fill = entry(0x9000, 3, 1)
    assert orientation.of_exif(exif(*[fill] * (orientation.MAX_ENTRIES - 1), entry(0x112, 3, 6))) == 6
    assert orientation.of_exif(exif(*[fill] * orientation.MAX_ENTRIES, entry(0x112, 3, 6))) == 1


@pytest.mark.parametrize(
    ("xmp", "found"),
    [(b'<a tiff:Orientation="6"/>', 6), (b"<tiff:Orientation>3</tiff:Orientation>", 3), (b'tiff:Orientation="0"', 1)],
)
def test_xmp_has_it_as_an_attribute_or_an_element(xmp: bytes, found: int) -> None:
    assert orientation.of_xmp(xmp) == found
