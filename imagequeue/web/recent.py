"""The answers of late, as this process gave them: the latest ones, and percentiles of the last minute."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagequeue.web.answer import Answer

# A minute at 68 images a second; at more, percentiles are of the latest that many.
MOST = 4096
WINDOW_SECONDS = 60.0
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Seen:
    """One image's answer; `at`: Unix seconds; stages in ms. `label`: the best one, or the error's code."""

    id: str
    at: float
    status: int
    label: str
    stages: Mapping[str, float]


class Recent:
    """A ring of what was answered. Adding takes no lock: a deque's append is one step."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: deque[Seen] = deque(maxlen=MOST)

    def add(self, answer: Answer) -> None:
        if answer.error is not None:
            label = answer.error.code
        else:
            label = answer.result.predictions[0].label if answer.result and answer.result.predictions else ""
        self._seen.append(Seen(answer.id, self._clock(), answer.status, label, answer.stages()))

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The latest answers first."""
        seen = list(self._seen)[: -count - 1 : -1]
        return [
            {
                "id": s.id,
                "time": round(s.at, 3),
                "status": s.status,
                "label": s.label,
                "ms": round(s.stages["total"], 1),
            }
            for s in seen
        ]

    def latency(self) -> dict[str, Any]:
        """Percentiles of the last minute's good answers, ms by stage, and how many they were; {} for none."""
        horizon = self._clock() - WINDOW_SECONDS
        good = [s for s in list(self._seen) if s.at >= horizon and s.status == 200]
        described: dict[str, Any] = {"count": len(good), "seconds": WINDOW_SECONDS}
        for stage in good[0].stages if good else ():
            ordered = sorted(s.stages[stage] for s in good)
            described[stage] = {name: round(percentile(ordered, share), 1) for name, share in SHARES.items()}
        return described


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the ordered values do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
