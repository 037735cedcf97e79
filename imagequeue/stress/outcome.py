"""What became of one request, and of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ANSWERED = "answered"
# An answer of the right shape with other labels than the same image had before.
CHANGED = "changed"


@dataclass(frozen=True)
class Outcome:
    """`kind`: answered, changed, or the code of the request's error.

    at: the instant that its latency is counted from, seconds since the load began: when it was sent, or with a rate
    when it was due. seconds: from then to the last byte. late: how many of them it waited for a connection.
    """

    kind: str
    at: float
    seconds: float
    late: float = 0.0
    is_refusal: bool = False

    @property
    def ended(self) -> float:
        return self.at + self.seconds


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the ordered values do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
