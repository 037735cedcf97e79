"""Boxes are walked in bounded steps, whatever their lengths say."""

from __future__ import annotations

import struct

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats import isobmff


def test_boxes_are_found_with_short_long_and_open_lengths() -> None:
    short = isobmff.box(b"free", b"ab")
    long = struct.pack(">I4sQ", 1, b"wide", 20) + b"abcd"
    rest = struct.pack(">I4s", 0, b"mdat") + b"to the end"
    file = short + long + rest
    assert [(part.kind, file[part.start : part.end]) for part in isobmff.boxes(file)] == [
        (b"free", b"ab"),
        (b"wide", b"abcd"),
        (b"mdat", b"to the end"),
    ]


@pytest.mark.parametrize("length", [2, 7, 9, 2**31, 2**32 - 1])
def test_a_length_that_is_not_so_goes_no_further_than_the_file(length: int) -> None:
    file = struct.pack(">I4s", length, b"free") + b"abc"
    assert all(part.start <= part.end <= len(file) for part in isobmff.boxes(file))


def test_more_boxes_than_are_taken_are_refused() -> None:
    assert len(list(isobmff.boxes(isobmff.box(b"free") * (isobmff.MAX_BOXES - 1)))) == isobmff.MAX_BOXES - 1
    with pytest.raises(BadImage, match="more than 5000 boxes"):
        list(isobmff.boxes(isobmff.box(b"free") * (isobmff.MAX_BOXES + 1)))


def test_a_number_beyond_the_end_is_refused() -> None:
    fields = isobmff.Fields(b"\1\2\3\4", 1, 3)
    assert fields.number(2) == 0x0203
    with pytest.raises(BadImage, match="cut off"):
        fields.number(1)
