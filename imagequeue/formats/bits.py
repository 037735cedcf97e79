"""Bits of a video codec's header, one after the other."""

from __future__ import annotations

from imagequeue.errors import BadImage

# Headers are read to the picture's size, which stands near their beginning; the longest are scans of operating points.
MAX_BYTES = 1024


class Bits:
    """Raises BadImage where there are not so many as are asked for."""

    def __init__(self, content: bytes) -> None:
        content = content[:MAX_BYTES]
        self._bits = int.from_bytes(content, "big")
        self._left = len(content) * 8

    def number(self, count: int) -> int:
        """Of so many bits."""
        self._left -= count
        if self._left < 0:
            raise BadImage("The picture's own header is cut off.")
        return self._bits >> self._left & (1 << count) - 1

    def exponential(self) -> int:
        """An unsigned Exp-Golomb code: ue(v) of HEVC, uvlc() of AV1."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros > 32:
                raise BadImage("The picture's own header is broken.")
        return (1 << zeros) - 1 + self.number(zeros)
