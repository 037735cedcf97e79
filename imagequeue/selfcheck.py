"""A worker's proof that its model still answers as it did when it was warmed up.

A runtime may compute with memory that somebody else has freed, that a faulty bank has changed, or that a library has
written over; its answers are then wrong without any error, until the process is restarted. So the worker remembers what
the model made of a few fixed images, and has it compute them again: after each full garbage collection, because that is
what frees memory; at intervals that grow from seconds to minutes; and always the way that jobs go, in the same threads.
What was computed is stored only when the check that is due has passed; a model that fails it never answers again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future

import numpy as np

from imagequeue.errors import ModelWrong
from imagequeue.events import fail
from imagequeue.model import Model
from imagequeue.runtimes import Pixels, Probabilities

# BSD's EX_TEMPFAIL: the next start may be right. Another code than that of a worker that has stalled (70).
WRONG_EXIT_CODE = 75
# How far a probability may move. On a processor none moved at all, at any batch size and in any lane; a GPU may choose
# another algorithm for another size. The smallest error by freed memory was 0.1 (docs/internals.md).
TOLERANCES: Mapping[str, float] = {"float32": 1e-3}
COARSE_TOLERANCE = 0.02
# Seconds from one check to the next: three times as long each time, because what has been freed is overwritten soon.
FIRST_INTERVAL, GROWTH, LONGEST_INTERVAL = 2.0, 3.0, 120.0
# In the long run the checks take so small a share of the model's time.
MOST_COST = 1 / 500
# As many as a small batch; with lanes one for each, if there are more.
FEWEST_IMAGES = 3


def images_for(threads: int, max_batch: int) -> int:
    """How many images to check with: so many that each lane gets one, and none beyond a batch of jobs."""
    return min(max_batch, max(FEWEST_IMAGES, threads))


class SelfCheck:
    """One model's check. `begin_if_due` and `confirm` are called by the worker's loop, the rest is its own."""

    def __init__(self, model: Model, *, images: int, clock: Callable[[], float] = time.monotonic) -> None:
        """images: how many to compute; 0: nothing is ever checked. clock: seconds."""
        self._model = model
        self._pixels = fixed_images(images, model.size)
        self._clock = clock
        self._tolerance = TOLERANCES.get(model.precision, COARSE_TOLERANCE)
        self._right: Probabilities | None = None
        self._threads: Executor | None = None
        self._begun: Future[list[Probabilities]] | None = None
        # Begun and ended full garbage collections: so far, when the check under way began, when one that passed began.
        self._collections = self._collections_then = self._collections_passed = 0
        self._interval = FIRST_INTERVAL
        self._seconds = 0.0
        self._began_at = self._passed_at = 0.0
        self._answered = 0

    def start(self, threads: Executor) -> None:
        """Remember what is right; threads: those that compute jobs.

        Raises ModelWrong if a garbage collection changes it at once: what loading the model has left is freed here.
        """
        if not len(self._pixels):
            return
        self._threads = threads
        self._right = threads.submit(self._model.probabilities, self._pixels).result()
        gc.collect()
        gc.callbacks.append(self._count_collection)
        self._collections += 1
        self._passed_at = self._clock()
        self.confirm()

    def stop(self) -> None:
        if self._count_collection in gc.callbacks:
            gc.callbacks.remove(self._count_collection)

    def begin_if_due(self) -> None:
        """Have the model compute the check beside, or behind, what it has been given; `confirm` waits for it."""
        is_due = self._has_collected or self._clock() - self._passed_at >= self._interval
        if self._threads is not None and self._begun is None and is_due:
            self._collections_then = self._collections
            self._began_at = self._clock()
            self._begun = self._threads.submit(self._compute)

    def confirm(self, tick: Callable[[], object] = lambda: None) -> None:
        """The model may answer: the check that was begun, and one after each full collection, has passed.

        tick: called before each. Raises ModelWrong, after an error line that says by how much and since when.
        """
        # Twice at the most: a model whose every call brings a collection about is to answer, too.
        for _ in range(2):
            if self._begun is None and self._has_collected:
                self.begin_if_due()
            if self._begun is None:
                return
            tick()
            begun, self._begun = self._begun, None
            self._judge(begun)

    def answered(self, count: int) -> None:
        """So many answers were stored: if the next check fails, they are the ones that may be wrong."""
        self._answered += count

    @property
    def _has_collected(self) -> bool:
        return self._collections != self._collections_passed

    def _count_collection(self, phase: str, about: Mapping[str, int]) -> None:
        # In whichever thread it happens, in the midst of anything: nothing but a number is changed here. Both phases
        # count: what is freed in between may make an answer wrong before the collection has ended.
        if about["generation"] == 2:
            self._collections += 1

    def _compute(self) -> list[Probabilities]:
        # One image alone goes another way than several where there are lanes.
        parts = [self._pixels, self._pixels[:1]] if self._model.has_lanes else [self._pixels]
        started = self._clock()
        found = [self._model.probabilities(part) for part in parts]
        self._seconds = self._clock() - started
        return found

    def _judge(self, begun: Future[list[Probabilities]]) -> None:
        assert self._right is not None
        try:
            moved = max(moved_by(found, self._right) for found in begun.result())
        except Exception as error:
            self._condemn(f"the model computes its check no more: {error!r}")
        if moved > self._tolerance:
            self._condemn(f"a number has moved by {moved:.2g} since the start; {self._tolerance:.2g} is allowed")
        has_collected = self._collections_then != self._collections_passed
        self._collections_passed = self._collections_then
        self._passed_at, self._answered = self._began_at, 0
        longest = max(LONGEST_INTERVAL, self._seconds / MOST_COST)
        self._interval = FIRST_INTERVAL if has_collected else min(longest, self._interval * GROWTH)

    def _condemn(self, reason: str) -> None:
        since = round(self._clock() - self._passed_at, 1)
        fail("model_wrong", reason=reason, was_right_s_ago=since, answered_since=self._answered, exit=WRONG_EXIT_CODE)
        raise ModelWrong(f"The model answers otherwise than at its start: {reason}.")


def fixed_images(count: int, size: tuple[int, int]) -> Pixels:
    """Images that a model answers differently: noise, plain colours, and brightness that grows across; size: (w, h)."""
    width, height = size
    random = np.random.default_rng(20)
    pixels = np.zeros((count, height, width, 3), np.uint8)
    for number, image in enumerate(pixels):
        if number % 3 == 0:
            image[:] = random.integers(0, 256, image.shape)
        elif number % 3 == 1:
            image[:] = random.integers(0, 256, 3)
        else:
            image[:] = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    return pixels


def moved_by(found: Probabilities, right: Probabilities) -> float:
    """The largest difference of any number, in units of the largest that is right, of 1 at least; infinite where one is
    finite and the other is not.
    """
    right = right[: len(found)]
    both = np.isfinite(found) & np.isfinite(right)
    if found.shape != right.shape or not np.array_equal(found[~both], right[~both], equal_nan=True):
        return float("inf")
    if not both.any():
        return 0.0
    return float(np.abs(found[both] - right[both]).max() / max(1.0, float(np.abs(right[both]).max())))
