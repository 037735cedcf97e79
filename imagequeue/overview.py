"""What people and monitors see of the queue: how much waits, who works, what was counted.

One command to Redis, asked for again only when half a second has passed, however many look.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from imagequeue.jobqueue import JobQueue
from imagequeue.mending import numbers_in

# What is counted in Redis, by every process together, since the queue was made.
COUNTERS = ("enqueued", "completed", "expired", "too_late", "refused", "failed", "crashes", "convicted", "dead")
BATCH_PREFIX = "batch:"
# For how long a look is as good as a new one.
FRESH_SECONDS = 0.5
# Rates are taken between looks that are at most so far apart.
RATE_SECONDS = 10.0
_BATCH = re.compile(rf"{BATCH_PREFIX}[0-9]{{1,9}}", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,15})?", re.ASCII)


@dataclass(frozen=True)
class LiveWorker:
    """A worker that has a lease, or had one and is not reaped yet; `lease_left` is negative then.

    facts: what it told when it joined (host, pid, model, …), images: done so far, last_batch: jobs in it.
    """

    id: str
    lease_left: float
    facts: Mapping[str, str | int | float]

    @property
    def is_live(self) -> bool:
        return self.lease_left > 0


@dataclass(frozen=True)
class Overview:
    """The queue at one instant of Redis's clock, `at` (Unix seconds).

    depth: jobs that wait, suspects not counted. bulk: those of them that nobody waits for.
    oldest_age: seconds that the longest waiting job has waited.
    dead: documents kept for inspection. counters: see COUNTERS. batch_sizes: how many batches had so many jobs.
    drained_per_s: the rate of all live workers while there is work; 0 if unknown.
    """

    at: float
    depth: int
    suspects: int
    oldest_age: float
    dead: int
    workers: tuple[LiveWorker, ...]
    counters: Mapping[str, int]
    batch_sizes: Mapping[int, int]
    drained_per_s: float
    bulk: int = 0

    @property
    def live_workers(self) -> int:
        return sum(worker.is_live for worker in self.workers)

    @property
    def wait(self) -> float:
        """Seconds that a new job would wait until a worker claims it, by the drain rate; 0 if that is unknown."""
        return (self.depth - self.bulk) / self.drained_per_s if self.drained_per_s else 0.0


def look(queue: JobQueue) -> Overview:
    """Ask Redis, once. Raises RedisDown."""
    now, depth, suspects, oldest, dead, counted, workers, bulk = queue.look_around()
    stats = numbers_in(_pairs(counted))
    # Of one worker; see complete.lua.
    milliseconds = stats.get("busy_ms", 0.0)
    live = sum(lease_end > now for _, lease_end, _ in workers)
    return Overview(
        at=now / 1000,
        depth=depth,
        suspects=suspects,
        oldest_age=0.0 if oldest is None else max(0, now - oldest) / 1000,
        dead=dead,
        workers=tuple(
            LiveWorker(
                id=worker_id.decode(errors="replace"),
                lease_left=(lease_end - now) / 1000,
                facts={
                    field.decode(errors="replace"): _number(value.decode(errors="replace"))
                    for field, value in _pairs(facts)
                },
            )
            for worker_id, lease_end, facts in workers
        ),
        counters={name: int(stats.get(name, 0)) for name in COUNTERS},
        batch_sizes=dict(
            sorted(
                (int(field.removeprefix(BATCH_PREFIX)), int(count))
                for field, count in stats.items()
                if _BATCH.fullmatch(field)
            )
        ),
        drained_per_s=stats.get("busy_jobs", 0.0) / milliseconds * 1000 * live if milliseconds > 0 else 0.0,
        bulk=bulk,
    )


class Lookout:
    """The latest overview, for all threads of a process."""

    def __init__(self, ask: Callable[[], Overview], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: Overview | None = None
        self._asked_at = 0.0
        self._history: deque[Overview] = deque()

    def latest(self) -> Overview:
        """At most FRESH_SECONDS old. Raises RedisDown."""
        # Whoever comes while another asks waits for that answer.
        with self._lock:
            now = self._clock()
            if self._latest is None or now - self._asked_at >= FRESH_SECONDS:
                self._latest = self._ask()
                self._asked_at = now
                self._remember(self._latest)
            return self._latest

    def rate(self, counter: str) -> float | None:
        """How fast a counter grew of late, per second; None until two looks have been taken."""
        with self._lock:
            if len(self._history) < 2:
                return None
            first, last = self._history[0], self._history[-1]
        seconds = last.at - first.at
        # Counters that fall belong to a Redis that was started anew.
        grown = max(0, last.counters[counter] - first.counters[counter])
        return grown / seconds if seconds > 0 else None

    def _remember(self, overview: Overview) -> None:
        self._history.append(overview)
        while len(self._history) > 2 and self._history[-1].at - self._history[0].at > RATE_SECONDS:
            self._history.popleft()


def _pairs(flat: list[Any]) -> zip[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _number(text: str) -> str | int | float:
    # Not whatever float() takes: a host may be called `inf`.
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)
