"""How long a worker's model will take for a batch that is about to be claimed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Seconds for one job, for each more of its batch, and until the model is free; all 0 if unknown."""

    one: float = 0.0
    more: float = 0.0
    ahead: float = 0.0


UNKNOWN_LATENCY = Latency()
