"""How much is decoded at the same time in one process: this, and nothing else, bounds the memory that it takes.

A decoder needs 4 bytes for each pixel of a plain JPEG or PNG, and up to 18 for WebP (docs/internals.md has the
measurements). So pixels are counted, not images: a 50 megapixel image is decoded alone, small ones side by side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DecodingRoom:
    """Room for a few decoders, and for so many pixels in all of them together. Made in the process that it is for."""

    def __init__(self, *, decoders: int, max_pixels: int) -> None:
        """decoders: images that are opened or decoded at the same time. max_pixels: the largest image's, too."""
        # A byte in a pipe for each decoder that is free. A semaphore of Python's wakes its next thread with the
        # interpreter's lock still held, which is the first thing that this thread needs; a write lets it go.
        self._taken, self._given = os.pipe()
        os.write(self._given, bytes(decoders))
        self._max_pixels = max_pixels
        self._pixels = 0
        self._turn = threading.Lock()
        self._freed = threading.Condition()

    def __del__(self) -> None:
        os.close(self._taken)
        os.close(self._given)

    @contextmanager
    def decoder(self) -> Iterator[None]:
        """One decoder, for as long as the block runs; waits until there is one."""
        os.read(self._taken, 1)
        try:
            yield
        finally:
            os.write(self._given, b"\0")

    @contextmanager
    def pixels(self, count: int) -> Iterator[None]:
        """Room for `count` pixels, for as long as the block runs; waits until there is so much. Inside `decoder`."""
        # One waits at a time and the others behind it, or a large image might wait for ever while small ones pass.
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._pixels == 0 or self._pixels + count <= self._max_pixels)
            self._pixels += count
        try:
            yield
        finally:
            with self._freed:
                self._pixels -= count
                self._freed.notify()
