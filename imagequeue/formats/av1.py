"""AV1, the pictures of AVIF: the sizes that a stream itself says (AV1 Bitstream & Decoding Process Specification)."""

from __future__ import annotations

from collections.abc import Iterator

from imagequeue.errors import BadImage
from imagequeue.formats.bits import Bits

# A still picture is a sequence header and a frame; an encoder of layers writes four frames at most.
MAX_UNITS, MAX_FRAMES = 200, 4

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
# Before the units, of the box av1C.
_CONFIGURATION_BYTES = 4


def stated_sizes(configuration: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) of each sequence header in the contents of a box av1C. Raises BadImage as `own_sizes`."""
    return own_sizes(configuration, configuration[_CONFIGURATION_BYTES:])


def own_sizes(configuration: bytes, picture: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) of each sequence header in a picture: none of its frames is larger.

    Raises BadImage for more units or frames than are taken, and where they are broken.
    """
    frames = 0
    for kind, unit in _units(picture):
        if kind == _SEQUENCE:
            yield _size(Bits(unit))
        frames += kind in (_FRAME_HEADER, _FRAME)
        if frames > MAX_FRAMES:
            raise BadImage(f"The AVIF has more than {MAX_FRAMES} frames in one picture.")


def _units(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """The type and the contents' beginning of each unit (5.3)."""
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(stream):
            return
        head = stream[at]
        at += 1 + (head >> 2 & 1)
        size = len(stream) - at
        if head & 2:
            size = 0
            for place in range(8):
                byte = stream[at] if at < len(stream) else 0
                at += 1
                size |= (byte & 0x7F) << 7 * place
                if byte < 0x80:
                    break
        yield head >> 3 & 15, stream[at : at + min(size, 256)]
        at += size
    raise BadImage(f"The AVIF has more than {MAX_UNITS} units in one picture.")


def _size(bits: Bits) -> tuple[int, int]:
    """Of a sequence header (5.5.1)."""
    bits.number(4)
    if bits.number(1):
        bits.number(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.number(4) + 1, bits.number(4) + 1
    return bits.number(width_bits) + 1, bits.number(height_bits) + 1


def _skip_operating_points(bits: Bits) -> None:
    delay_bits = 0
    if bits.number(1):
        bits.number(64)
        if bits.number(1):
            bits.exponential()
        if bits.number(1):
            delay_bits = bits.number(5) + 1
            bits.number(42)
    has_display_delay = bits.number(1)
    for _ in range(bits.number(5) + 1):
        bits.number(12)
        if bits.number(5) > 7:
            bits.number(1)
        if delay_bits and bits.number(1):
            bits.number(2 * delay_bits + 1)
        if has_display_delay and bits.number(1):
            bits.number(4)
