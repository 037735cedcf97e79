"""HEVC, the pictures of HEIC: the sizes that a stream itself says (ITU-T H.265; ISO/IEC 14496-15 for the box hvcC)."""

from __future__ import annotations

from collections.abc import Iterator

from imagequeue.errors import BadImage
from imagequeue.formats.bits import Bits
from imagequeue.formats.isobmff import Fields

# The highest levels allow 600 slices in a picture (annex A.4), each of which is a unit; of others there are a few.
MAX_UNITS = 650

_SPS = 33
_SLICES = range(32)
# Where hvcC says how long the units' lengths are, and where its own units begin.
_LENGTH_SIZE, _ARRAYS = 21, 22
# A third zero, or a byte that would look like a start, is escaped by a three (7.4.1).
_ESCAPED = b"\0\0\3"


def stated_sizes(configuration: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) of each sequence parameter set in the contents of a box hvcC. Raises BadImage as `own_sizes`."""
    if len(configuration) <= _ARRAYS:
        raise BadImage("The HEIC has no parameters of its picture.")
    return _sizes(_parameters(configuration))


def own_sizes(configuration: bytes, picture: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) of each sequence parameter set in a picture whose parameters are those.

    Raises BadImage for more units or pictures than are taken, and where they are broken.
    """
    return _sizes(_units(picture, (configuration[_LENGTH_SIZE] & 3) + 1))


def _sizes(units: Iterator[bytes]) -> Iterator[tuple[int, int]]:
    pictures = 0
    for unit in units:
        if len(unit) < 3:
            continue
        kind = unit[0] >> 1 & 0x3F
        if kind == _SPS:
            yield _size(Bits(unit[2:].replace(_ESCAPED, b"\0\0")))
        pictures += kind in _SLICES and unit[2] >> 7
        if pictures > 1:
            raise BadImage("The HEIC has several pictures where one is expected.")


def _parameters(configuration: bytes) -> Iterator[bytes]:
    fields = Fields(configuration, _ARRAYS, len(configuration))
    seen = 0
    for _ in range(fields.number(1)):
        fields.number(1)
        for _ in range(fields.number(2)):
            seen += 1
            if seen > MAX_UNITS:
                raise BadImage(f"The HEIC has more than {MAX_UNITS} units in one picture.")
            yield fields.bytes(fields.number(2))[:256]


def _units(picture: bytes, length_size: int) -> Iterator[bytes]:
    """The beginning of each unit."""
    at = 0
    for _ in range(MAX_UNITS):
        if at + length_size > len(picture):
            return
        length = int.from_bytes(picture[at : at + length_size], "big")
        at += length_size
        yield picture[at : at + min(length, 256)]
        at += length
    raise BadImage(f"The HEIC has more than {MAX_UNITS} units in one picture.")


def _size(bits: Bits) -> tuple[int, int]:
    """Of a sequence parameter set (7.3.2.2), before its conformance window is cut out."""
    bits.number(4)
    sub_layers = bits.number(3)
    bits.number(1)
    # The profile and the level; then which of the sub-layers have their own.
    bits.number(96)
    if sub_layers:
        flags = [(bits.number(1), bits.number(1)) for _ in range(8)]
        for has_profile, has_level in flags[:sub_layers]:
            bits.number(88 * has_profile + 8 * has_level)
    bits.exponential()
    if bits.exponential() == 3:
        bits.number(1)
    return bits.exponential(), bits.exponential()
