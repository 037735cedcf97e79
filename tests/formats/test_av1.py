"""Of an AV1 stream the size is known that a decoder would take memory for."""

from __future__ import annotations

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats import av1

CONFIGURATION = b"\x81\0\0\0"


def sequence(width: int, height: int) -> bytes:
    """A unit with the header of a still picture: profile 0, reduced, level 0, and 16 bits for each side."""
    bits = f"{0:03b}11{0:05b}{15:04b}{15:04b}{width - 1:016b}{height - 1:016b}".ljust(56, "0")
    return b"\x0a\x07" + int(bits, 2).to_bytes(7, "big")


def test_each_header_counts_wherever_it_is() -> None:
    picture = sequence(640, 480) + b"\x32\x01\0" + sequence(65_536, 1)
    assert list(av1.stated_sizes(CONFIGURATION + sequence(8, 9))) == [(8, 9)]
    assert list(av1.own_sizes(CONFIGURATION, picture)) == [(640, 480), (65_536, 1)]


def test_more_frames_and_units_than_are_taken_are_refused() -> None:
    frame = b"\x32\x01\0"
    assert not list(av1.own_sizes(CONFIGURATION, frame * av1.MAX_FRAMES))
    with pytest.raises(BadImage, match="more than 4 frames"):
        list(av1.own_sizes(CONFIGURATION, frame * (av1.MAX_FRAMES + 1)))
    with pytest.raises(BadImage, match="more than 200 units"):
        list(av1.own_sizes(CONFIGURATION, b"\x12\0" * 1000))
