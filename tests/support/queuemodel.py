"""The queue said a second time, as a few Python lists: what each method of JobQueue should do, without Redis.

No clock: a lease has ended, or a deadline has passed, when a test says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imagequeue.backlog import Backlog
from imagequeue.dead import Dead
from imagequeue.errors import Fenced, NoWorkers, QueueFull
from imagequeue.job import Job, Result, id_of
from imagequeue.replies import Claimed, Completed, Reaped


def word_of(result: Result) -> str:
    """What a result says, in one word: the best label, or the error's code."""
    return result.error.code if result.error is not None else result.predictions[0].label


@dataclass
class KnownJob:
    """What a job's hash holds."""

    document: bytes
    attempts: int = 0
    crashes: int = 0
    token: str | None = None
    is_late: bool = False


class QueueModel:
    """Methods of the same names, arguments and answers as JobQueue's. Lists hold ids; only `send` is a document."""

    def __init__(self, max_dead: int) -> None:
        self.max_dead = max_dead
        self.waiting: list[str] = []
        self.bulk: list[str] = []
        self.since_bulk = 0
        self.suspects: list[str] = []
        self.processing: defaultdict[str, list[str]] = defaultdict(list)
        self.dead: list[str] = []
        self.jobs: dict[str, KnownJob] = {}
        self.results: dict[str, str] = {}
        # Whether the lease has ended, and whether its owner left so long ago that nobody looks after it any more.
        self.leases: dict[str, bool] = {}
        self.gone: dict[str, bool] = {}
        self.is_reaping = False
        self.counts: Counter[str] = Counter()

    def enqueue(self, job: Job, *, timeout: float, max_length: int, needs_worker: bool) -> Backlog:
        if job.id in self.results or job.id in self.jobs:
            return Backlog(self.depth, 0.0)
        if needs_worker and all(self.leases.values()):
            raise NoWorkers("")
        while self.depth >= max_length:
            known = self.jobs.get(self.waiting[0]) if self.waiting else None
            if not self.waiting or (known is not None and not known.is_late):
                raise QueueFull("")
            self._expire(self.waiting.pop(0))
        self._let_wait(job, self.bulk if self.waiting and not job.reply_to else self.waiting)
        return Backlog(self.depth, 0.0)

    def _let_wait(self, job: Job, where: list[str]) -> None:
        self.jobs[job.id] = KnownJob(job.encode())
        where.append(job.id)
        self.counts["enqueued"] += 1

    @property
    def depth(self) -> int:
        return len(self.waiting) + len(self.bulk)

    def requeue(self, entry: bytes, job: Job, *, timeout: float) -> bool:
        buried = Dead.decode(entry).id
        if job.id in self.results or job.id in self.jobs:
            return True
        if buried not in self.dead:
            return False
        self.dead.remove(buried)
        self._let_wait(job, self.waiting)
        return True

    def cancel(self, job_id: str) -> str | None:
        self.jobs.pop(job_id, None)
        if job_id in self.results:
            return self.results[job_id]
        self.results[job_id] = "deadline_exceeded"
        return None

    def forget(self, ids: Iterable[str]) -> None:
        for job_id in ids:
            self.results.pop(job_id, None)

    def join(self, worker_id: str, lease_seconds: float, facts: dict[str, Any]) -> None:
        if worker_id in self.gone:
            raise Fenced("")
        self.leases[worker_id] = False

    def heartbeat(self, worker_id: str, lease_seconds: float) -> None:
        if worker_id not in self.leases:
            self.gone[worker_id] = False
            raise Fenced("")
        self.leases[worker_id] = False

    def claim(self, worker_id: str, *, lease_seconds: float, token: str, limit: int, held: int = 0) -> list[Claimed]:
        self.heartbeat(worker_id, lease_seconds)
        mine = self.processing[worker_id]
        batch: list[Claimed] = []

        def is_complete() -> bool:
            return len(batch) >= limit or any(claimed.crashes for claimed in batch)

        is_repeat = False

        def accept(job_id: str) -> bool:
            nonlocal is_repeat
            known = self.jobs.get(job_id)
            if known is None:
                mine.remove(job_id)
            elif known.is_late:
                self._expire(job_id)
                mine.remove(job_id)
            else:
                is_repeat = is_repeat or known.token == token
                known.attempts += known.token != token
                known.token = token
                batch.append(Claimed(known.document, 0, known.attempts, known.crashes))
                return True
            return False

        def take(source: list[str], most: int) -> int:
            taken = 0
            while source and taken < most and not is_complete() and not is_repeat:
                mine.append(source.pop(0))
                taken += accept(mine[-1])
            return taken

        def take_bulk(most: int) -> None:
            if take(self.bulk, most):
                self.since_bulk = 0

        for job_id in mine[held:]:
            if not is_complete():
                accept(job_id)
        while self.suspects and not batch and not held:
            mine.append(self.suspects.pop(0))
            accept(mine[-1])
        has_bulk = bool(self.bulk)
        if has_bulk and self.since_bulk >= 15:
            take_bulk(1)
        taken = take(self.waiting, limit)
        self.since_bulk += taken if has_bulk else 0
        take_bulk(limit)
        return batch

    def complete(self, worker_id: str, token: str, results: Sequence[tuple[Job, Result]]) -> Completed:
        stored = 0
        for job, result in results:
            stored += self._settle(job.id, word_of(result))
            self._take(worker_id, job.id)
        self.counts["completed"] += stored
        return Completed(stored, self.depth, len(self.suspects))

    def fail(self, worker_id: str, job_id: str, reply_to: str, result: Result, reason: str) -> bool:
        was_held = self._take(worker_id, job_id)
        is_first = self._settle(job_id, word_of(result))
        self.counts["failed"] += is_first
        if is_first and was_held:
            self._bury(job_id)
        return is_first

    def release(self, worker_id: str) -> int:
        mine = self.processing.pop(worker_id, [])
        for job_id in reversed(mine):
            known = self.jobs.get(job_id)
            if known and known.token:
                known.attempts -= 1
                known.token = None
            (self.suspects if known and known.crashes else self.waiting).insert(0, job_id)
        if self.leases.pop(worker_id, None) is not None:
            self.gone[worker_id] = False
        return len(mine)

    def reap(self, *, interval: float, max_crashes: int, victim: str = "") -> Reaped:
        found = Counter[str]()
        ended = [victim] if victim in self.leases else []
        swept: list[str] = []
        if not self.is_reaping:
            self.is_reaping = True
            ended += sorted(worker for worker, has_ended in self.leases.items() if has_ended and worker != victim)
            swept = [worker for worker in self.gone if worker not in ended]
        for worker in ended:
            del self.leases[worker]
            self.gone[worker] = False
        for worker in ended + swept:
            found += self._sweep(worker, max_crashes)
        self.gone = {worker: is_old for worker, is_old in self.gone.items() if not (is_old and worker in swept)}
        return Reaped(len(self.suspects), len(ended), found["returned"], found["convicted"])

    def without_times(self) -> dict[str, Any]:
        """As QueueState tells it."""
        return {
            "waiting": self.waiting,
            "bulk": self.bulk,
            "suspects": self.suspects,
            "processing": {worker: ids for worker, ids in self.processing.items() if ids},
            "dead": self.dead,
            "jobs": {job_id: (known.attempts, known.crashes, known.token) for job_id, known in self.jobs.items()},
            "results": self.results,
            "leases": self.leases,
            "gone": set(self.gone),
            "counts": +self.counts,
        }

    def _sweep(self, worker_id: str, max_crashes: int) -> Counter[str]:
        found = Counter[str]()
        unstamped: list[str] = []
        for job_id in self.processing.pop(worker_id, []):
            known = self.jobs.get(job_id)
            if known is None or known.token is None:
                unstamped.append(job_id)
                continue
            known.token = None
            known.crashes += 1
            self.counts["crashes"] += 1
            if known.crashes < max_crashes:
                self.suspects.append(job_id)
                found["returned"] += 1
            elif self._settle(job_id, "job_failed"):
                self.counts["convicted"] += 1
                self._bury(job_id)
                found["convicted"] += 1
        self.waiting[:0] = unstamped
        found["returned"] += len(unstamped)
        return found

    def _settle(self, job_id: str, word: str) -> bool:
        is_first = self.jobs.pop(job_id, None) is not None
        if is_first:
            self.results[job_id] = word
        return is_first

    def _expire(self, job_id: str) -> None:
        self.counts["expired"] += self._settle(job_id, "deadline_exceeded")

    def _take(self, worker_id: str, job_id: str) -> bool:
        is_held = job_id in self.processing[worker_id]
        if is_held:
            self.processing[worker_id].remove(job_id)
        return is_held

    def _bury(self, job_id: str) -> None:
        self.dead = [job_id, *self.dead][: self.max_dead]
        self.counts["dead"] += 1


def ids_of(documents: Iterable[str]) -> list[str]:
    return [id_of(document.encode()) for document in documents]
