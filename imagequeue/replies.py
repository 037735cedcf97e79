"""What the queue's scripts reply to a worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claimed:
    """A document as it was claimed: how long it waited, in ms, how often it was claimed and crashed so far."""

    document: bytes
    queued_ms: int
    attempts: int
    crashes: int
    # By Redis's clock, Unix ms.
    claimed_at: int = 0


@dataclass(frozen=True)
class Completed:
    """How many results were the first for their job, how many jobs wait now, and how many suspects."""

    stored: int
    waiting: int
    suspects: int


@dataclass(frozen=True)
class Reaped:
    """What one reaping found: suspects that wait, workers reaped, jobs handed back, jobs given up."""

    suspects: int
    workers: int
    jobs: int
    convicted: int
