"""Lanes: a batch is cut into parts, and each part is computed by one thread alone.

Threads that compute one image together wait for each other after every layer, and a web server that takes one of their
processors holds up all of them. Threads with a part each wait for nobody until the batch ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from imagequeue.runtimes import Pixels, Predict, Probabilities

# Images that one thread computes together: of ResNet50's layers so many fit its cache, and each weight that is read
# serves them all (docs/internals.md has the rates).
PART = 4


class Lanes:
    """Several ways to compute, used at the same time, each for one part of a batch."""

    def __init__(self, lanes: Sequence[Predict]) -> None:
        """lanes: each computes with one thread, and is called by one at a time."""
        self.count = len(lanes)
        self._free: SimpleQueue[Predict] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(len(lanes), thread_name_prefix="lane")

    @property
    def are_busy(self) -> bool:
        """Whether one of them computes now."""
        return self._free.qsize() < self.count

    def predict(self, pixels: Pixels) -> Probabilities:
        """The probabilities of all, in their order. Raises what a lane raises.

        Its parts are in line one after another, so that a later batch waits for them all.
        """
        parts = np.array_split(pixels, parts_of(len(pixels), self.count))
        return np.concatenate(list(self._threads.map(self.predict_part, parts)))

    def predict_part(self, part: Pixels) -> Probabilities:
        """The same of one part, in the next lane that is free."""
        lane = self._free.get()
        try:
            return lane(part)
        finally:
            self._free.put(lane)


def parts_of(count: int, lanes: int) -> int:
    """How many parts, of PART images at most: as many for each lane, so that all end at about the same time."""
    rounds = -(-count // (lanes * PART))
    return min(count, lanes * rounds)
