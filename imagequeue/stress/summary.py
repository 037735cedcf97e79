"""The numbers of one run, as they are printed, kept as JSON, and compared with another run's."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from imagequeue.stress.outcome import ANSWERED, Outcome, percentile

VERSION = 1
MARKS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
# Each bucket of the histogram ends this much further than the one before: its values are known to 10 %.
GROWTH = 1.1
FIRST_MS = 0.1
# A curve of more points than this is no clearer.
MAX_SLICES = 120
MIN_SLICE = 0.1


@dataclass(frozen=True)
class Summary:
    """options: what was asked for. kinds: how many requests ended how; those never answered are `missing`.

    latency: percentiles of the answered, ms. late: the longest that a due request waited for a connection, ms.
    histogram: pairs of a bucket's end, ms, and how many of the answered lie in it. slices: for each `slice` seconds
    how many were answered, how many ended otherwise, and the percentiles of those answered (None where none was).
    """

    options: Mapping[str, Any]
    started: str
    seconds: float
    sent: int
    kinds: Mapping[str, int]
    latency: Mapping[str, float]
    late: float
    histogram: Sequence[tuple[float, int]]
    slice: float
    slices: Sequence[Mapping[str, float | None]]
    version: int = field(default=VERSION)

    @property
    def answered(self) -> int:
        return self.kinds.get(ANSWERED, 0)

    @property
    def throughput(self) -> float:
        """Answered images a second."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    def write(self, file: Path) -> None:
        document = asdict(self) | {"throughput": round(self.throughput, 2)}
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Summary:
        """Raises OSError; ValueError for what is no summary of this version."""
        document: Any = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.pop("version", None) != VERSION:
            raise ValueError(f"{file} is no result of this stress test")
        document.pop("throughput", None)
        try:
            summary = cls(**document)
            ended = [(float(end), int(count)) for end, count in summary.histogram]
            return cls(**(document | {"histogram": ended}))
        except TypeError as error:
            raise ValueError(f"{file} is no result of this stress test: {error}") from None


def summarize(
    outcomes: Sequence[Outcome], *, sent: int, seconds: float, started: str, options: Mapping[str, Any]
) -> Summary:
    """sent: how many requests were begun. seconds: from the first to the last answer. started: UTC, for people."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    if missing := sent - len(outcomes):
        kinds["missing"] = missing
    answered = sorted(outcome.seconds * 1000 for outcome in outcomes if outcome.kind == ANSWERED)
    width = max(MIN_SLICE, seconds / MAX_SLICES)
    return Summary(
        options=dict(options),
        started=started,
        seconds=round(seconds, 3),
        sent=sent,
        kinds=dict(kinds.most_common()),
        latency=marks(answered),
        late=round(max((outcome.late for outcome in outcomes), default=0.0) * 1000, 1),
        histogram=histogram(answered),
        slice=round(width, 4),
        slices=slices(outcomes, width, seconds),
    )


def marks(ordered_ms: Sequence[float]) -> dict[str, float]:
    """The percentiles of ordered latencies, ms; nothing for none."""
    return {name: round(percentile(ordered_ms, share), 2) for name, share in MARKS.items()} if ordered_ms else {}


def histogram(values_ms: Sequence[float]) -> list[tuple[float, int]]:
    """Buckets from the first to the last that holds a value, the empty ones between them too."""
    counts = Counter(max(0, math.ceil(math.log(max(v, FIRST_MS) / FIRST_MS, GROWTH) - 1e-9)) for v in values_ms)
    if not counts:
        return []
    return [(round(FIRST_MS * GROWTH**n, 3), counts[n]) for n in range(min(counts), max(counts) + 1)]


def slices(outcomes: Sequence[Outcome], width: float, seconds: float) -> list[dict[str, float | None]]:
    """Time cut into pieces of `width` seconds; a request belongs to the one in which it ended."""
    count = max(1, math.ceil(seconds / width - 1e-9))
    answered: list[list[float]] = [[] for _ in range(count)]
    others = [0] * count
    for outcome in outcomes:
        n = min(count - 1, int(outcome.ended / width))
        if outcome.kind == ANSWERED:
            answered[n].append(outcome.seconds * 1000)
        else:
            others[n] += 1
    return [
        {
            "answered": len(values),
            "others": others[n],
            **{name: _at(sorted(values), share) for name, share in MARKS.items() if name != "max"},
        }
        for n, values in enumerate(answered)
    ]


def _at(ordered: Sequence[float], share: float) -> float | None:
    return round(percentile(ordered, share), 2) if ordered else None
