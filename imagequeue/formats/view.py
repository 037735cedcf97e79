"""What is shown of an AVIF's or HEIC's picture, and how it is turned: by its properties clap, irot and imir.

Each applies to the result of those before it in the file's list (ISO/IEC 23008-12, 6.5). Writers mostly crop, rotate
and mirror in this order, as MIAF says; some mirror first, which is another picture.
"""

from __future__ import annotations

import math
import struct

Edges = tuple[int, int, int, int]
"""Left, top, right, bottom."""

# EXIF's numbers. Of a picture whose axes are not swapped, and are; left and right are not exchanged, and are; the same
# of top and bottom.
_ORIENTATIONS = (((1, 4), (2, 3)), ((5, 8), (6, 7)))


class View:
    """Of a picture whose properties are applied one after the other; at first all of it, upright."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._edges: Edges = (0, 0, *size)
        self._whole = self._edges
        # In this order.
        self._is_swapped = self._is_mirrored = self._is_upside_down = False

    @property
    def orientation(self) -> int:
        """EXIF's number, 1 to 8; to be applied after the crop."""
        return _ORIENTATIONS[self._is_swapped][self._is_mirrored][self._is_upside_down]

    @property
    def crop(self) -> Edges | None:
        """The part of the picture that is shown; None for all of it."""
        return None if self._edges == self._whole else self._edges

    def apply(self, kind: bytes, content: bytes) -> None:
        """A property of any kind; only three of them change the view."""
        if kind == b"irot" and content:
            self._rotate(content[0] & 3)
        elif kind == b"imir" and content:
            self._mirror(content[0] & 1)
        elif kind == b"clap":
            self._cut(content)

    def _rotate(self, quarters: int) -> None:
        """Counterclockwise."""
        for _ in range(quarters):
            self._is_swapped = not self._is_swapped
            self._is_mirrored, self._is_upside_down = self._is_upside_down, not self._is_mirrored

    def _mirror(self, axis: int) -> None:
        """0: the top becomes the bottom. 1: the left becomes the right."""
        if axis:
            self._is_mirrored = not self._is_mirrored
        else:
            self._is_upside_down = not self._is_upside_down

    def _cut(self, clap: bytes) -> None:
        """The edges are those of the turned picture, and are turned back."""
        left, top, right, bottom = self._edges
        width, height = right - left, bottom - top
        found = aperture(clap, (height, width) if self._is_swapped else (width, height))
        if found is None:
            return
        across, down = (found[0], found[2]), (found[1], found[3])
        if self._is_mirrored:
            across = _from_the_other_side(across, height if self._is_swapped else width)
        if self._is_upside_down:
            down = _from_the_other_side(down, width if self._is_swapped else height)
        if self._is_swapped:
            across, down = down, across
        self._edges = (left + across[0], top + down[0], left + across[1], top + down[1])


def _from_the_other_side(ends: tuple[int, int], length: int) -> tuple[int, int]:
    return length - ends[1], length - ends[0]


def aperture(clap: bytes, size: tuple[int, int]) -> Edges | None:
    """What a clean aperture leaves (ISO/IEC 14496-12, 12.1.4.1); None if it is invalid."""
    if len(clap) < 32:
        return None
    numbers = struct.unpack(">IIIIiIiI", clap[:32])
    edges = []
    fractions = numbers[:2] + numbers[4:6], numbers[2:4] + numbers[6:]
    # Of a pixel's fractions libheif drops those of the left edge, and rounds those of the top.
    for side, (across, by, offset, per), rounding in zip(size, fractions, (0, 0.5), strict=True):
        if not by or not per:
            return None
        length = across / by
        start = math.floor(offset / per + (side - length) / 2 + rounding)
        stop = start + round(length)
        if not 0 <= start < stop <= side:
            return None
        edges.append((start, stop))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom
