"""How long a worker's model will take for the next batch, and how long it took for the last one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Seconds for one job, for each more of its batch, and until the model is free; all 0 if unknown."""

    one: float = 0.0
    more: float = 0.0
    ahead: float = 0.0


UNKNOWN_LATENCY = Latency()


@dataclass(frozen=True)
class Busy:
    """seconds: that a worker was busy with one batch alone; 0 if that is unknown. limit: most jobs in a batch of it.

    full: seconds that it takes for each job of such a batch; 0 if unknown.
    """

    seconds: float = 0.0
    limit: int = 1
    full: float = 0.0


UNKNOWN_BUSY = Busy()
