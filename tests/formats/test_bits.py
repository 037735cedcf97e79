"""Bits are read as the standards write them, and never beyond the end."""

from __future__ import annotations

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats.bits import Bits


def test_numbers_and_codes_follow_each_other() -> None:
    bits = Bits(bytes([0b1_010_011_0, 0b0100_1111]))
    assert [bits.exponential() for _ in range(4)] == [0, 1, 2, 3]
    assert bits.number(3) == 0b111


def test_beyond_the_end_and_behind_too_many_zeros_is_nothing() -> None:
    with pytest.raises(BadImage, match="cut off"):
        Bits(b"\1").number(9)
    with pytest.raises(BadImage, match="broken"):
        Bits(bytes(100)).exponential()
