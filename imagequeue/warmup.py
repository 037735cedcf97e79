"""Before the first job: every batch size is run once, and measured where the best one is to be found.

A model is only ever given the sizes that were warmed here, powers of two, so no request pays for tracing, compiling or
allocating for a new shape. On a CPU a large batch buys nothing and costs latency; on a GPU it is everything. So the
batch size is measured, not assumed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from imagequeue.model import Model

# What `auto` tries at the most: beyond it even a large GPU gains little, and a batch is 25 MB on its way from Redis.
LARGEST_AUTO = 128
# What a batch costs the worker around the model, whatever is in it: to claim and to complete it. Seconds.
SERVICE_SECONDS = 0.0015
# The least that `auto` gives: where web servers share the processors, a graph's threads wait for each other after each
# layer, and a larger batch has fewer layers for each image (TensorFlow, two cores, 32 clients: 16.6 images/s in batches
# of 2, 19.1 of 16). It costs nobody anything: a worker takes what is there.
LEAST_AUTO = 16
# A smaller batch is worth so much of the best rate: every image of a batch waits for the last one's.
GOOD_ENOUGH = 0.97
# Seconds. A batch that takes so long is not doubled for a few percent: all in it would wait twice as long, and a start
# on a processor would measure batches of 128 for a quarter of a minute.
LONGEST_DOUBLED = 0.5
# The longest that a batch is meant to take by that, also later, when the model has become slower. Seconds.
LONGEST_BATCH = 2 * LONGEST_DOUBLED
# So many sizes in a row without a better rate end the search.
PATIENCE = 2
_RUNS = 3
# Seconds.
_LONG = 0.1


def warm_up(model: Model, max_batch: int | None) -> tuple[Model, int]:
    """The model with its pace measured, and the most images to give it at once: `max_batch`, or if that is None the
    smallest power of two within 3 % of the best rate, and LEAST_AUTO at least.
    """
    paces: dict[int, float] = {}
    fruitless = 0
    size = 1
    while size <= (max_batch or LARGEST_AUTO) and (
        max_batch or size <= LEAST_AUTO or (fruitless < PATIENCE and paces[size // 2] < LONGEST_DOUBLED)
    ):
        best = min((_per_image(n, seconds) for n, seconds in paces.items()), default=float("inf"))
        paces[size] = _seconds(model, size)
        fruitless = 0 if _per_image(size, paces[size]) < best * GOOD_ENOUGH else fruitless + 1
        size *= 2
    chosen = max_batch or max(LEAST_AUTO, choose(paces))
    return replace(model, paces={n: seconds for n, seconds in paces.items() if n <= chosen}), chosen


def choose(paces: Mapping[int, float]) -> int:
    """The smallest batch whose rate is within 3 % of the best. paces: seconds for each batch size."""
    best = min(_per_image(size, seconds) for size, seconds in paces.items())
    return min(size for size, seconds in paces.items() if _per_image(size, seconds) <= best / GOOD_ENOUGH)


def _per_image(size: int, seconds: float) -> float:
    return (seconds + SERVICE_SECONDS) / size


def _seconds(model: Model, size: int) -> float:
    """The median of a few runs, after one that may trace and allocate."""
    blank = np.zeros((size, model.size[1], model.size[0], 3), np.uint8)
    model.predict(blank)
    runs: list[float] = []
    # A long run is its own average, and a start is to be short.
    while not runs or (len(runs) < _RUNS and sum(runs) < _LONG):
        started = time.perf_counter()
        model.predict(blank)
        runs.append(time.perf_counter() - started)
    return sorted(runs)[len(runs) // 2]
