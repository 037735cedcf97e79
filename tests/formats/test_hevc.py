"""Of an HEVC stream the size is known that a decoder would take memory for."""

from __future__ import annotations

import struct

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats import hevc


def code(value: int) -> str:
    """ue(v), as a text of bits."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def parameters(width: int, height: int) -> bytes:
    """A sequence parameter set: one layer, 4:2:0."""
    bits = f"{0:04b}{0:03b}1" + "01" * 48 + code(0) + code(1) + code(width) + code(height) + "1"
    return b"\x42\1" + int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def unit(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def configuration(*units: bytes) -> bytes:
    listed = b"".join(struct.pack(">H", len(content)) + content for content in units)
    return bytes(21) + b"\3\1\x21" + struct.pack(">H", len(units)) + listed


SLICE = b"\x26\1\x80"


def test_each_parameter_set_counts_wherever_it_is() -> None:
    stated = configuration(parameters(640, 480))
    assert list(hevc.stated_sizes(stated)) == [(640, 480)]
    assert list(hevc.own_sizes(stated, unit(parameters(16_384, 8)) + unit(SLICE))) == [(16_384, 8)]


def test_a_second_picture_is_refused_and_a_second_slice_is_not() -> None:
    assert not list(hevc.own_sizes(configuration(), unit(SLICE) + unit(b"\x26\1\0")))
    with pytest.raises(BadImage, match="several pictures"):
        list(hevc.own_sizes(configuration(), unit(SLICE) * 2))


def test_more_units_than_are_taken_are_refused() -> None:
    with pytest.raises(BadImage, match="more than 650 units"):
        list(hevc.own_sizes(configuration(), unit(b"\x4e\1\0") * 1000))
    with pytest.raises(BadImage, match="more than 650 units"):
        list(hevc.stated_sizes(configuration(*[parameters(8, 8)] * 1000)))


def test_what_has_no_parameters_is_refused() -> None:
    with pytest.raises(BadImage, match="no parameters"):
        list(hevc.stated_sizes(b""))
