"""Percentiles of waits, some of which never ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One request of a watcher. at: of time.monotonic(); seconds: until the answer was whole, infinite without one;
    status: as "200", or the name of the error.
    """

    at: float
    seconds: float
    status: str

    @property
    def is_good(self) -> bool:
        return self.status == "200"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of all do not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def milliseconds(samples: Sequence[Sample], share: float) -> float:
    """A percentile of all of them; one that got no answer, or another than 200, counts as infinite."""
    return percentile([sample.seconds * 1000 if sample.is_good else math.inf for sample in samples], share)


def statuses(samples: Sequence[Sample]) -> Counter[str]:
    return Counter(sample.status for sample in samples)


def between(samples: Sequence[Sample], start: float, end: float) -> list[Sample]:
    """Those that were sent in that time, whenever they were answered."""
    return [sample for sample in samples if start <= sample.at < end]
