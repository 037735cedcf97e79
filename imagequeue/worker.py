"""The worker: claim a batch, predict it, complete it, until told to drain.

It keeps no state that matters. What it holds lies in its processing list in Redis until the very script that
stores the results, so it may die at any line of this file; docs/protocol.md says who picks up what.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imagequeue.errors import Fenced, JobFailed, RedisDown
from imagequeue.events import fail, log, warn
from imagequeue.job import Job, Result, id_of
from imagequeue.jobqueue import Claimed, Doorbell, JobQueue
from imagequeue.lease import Lease
from imagequeue.model import Model

# How long a drain waits for a Redis that is away before it leaves the results to another worker.
DRAIN_PATIENCE = 10.0
LONGEST_PAUSE = 2.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Outcome:
    """A job with what became of it; `reason` is set if it is given up."""

    job: Job
    result: Result
    reason: str = ""


class Worker:
    """One model, one loop. `run` returns when the drain is done."""

    def __init__(
        self,
        queue: JobQueue,
        doorbell: Doorbell,
        lease: Lease,
        model: Model,
        *,
        max_batch: int,
        max_crashes: int,
        reap_interval: float = 3.0,
        at: Callable[[str], None] = lambda point: None,
        on_batch: Callable[[Sequence[Outcome]], object] = lambda outcomes: None,
    ) -> None:
        """max_batch: jobs claimed together. max_crashes: see reap.lua. reap_interval: seconds.

        at: called with the name of each point of the loop that it passes; tests end the process there.
        on_batch: called with each batch that was computed, before its results are stored.
        """
        self._queue = queue
        self._doorbell = doorbell
        self._lease = lease
        self._model = model
        self._max_batch = max_batch
        self._max_crashes = max_crashes
        self._reap_interval = reap_interval
        self._reaped_at = 0.0
        self._at = at
        self._on_batch = on_batch
        self._draining = threading.Event()

    def drain(self) -> None:
        """Claim no more, finish the batch in hand, and let `run` return. Safe in a signal's callback."""
        self._draining.set()

    def run(self) -> None:
        pause = 0.0
        while not self._draining.wait(pause):
            try:
                if self._lease.is_fenced:
                    self._lease.take()
                self._serve_one_batch()
                pause = 0.0
            except Fenced:
                warn("fenced", worker=self._lease.worker_id)
                self._lease.fence()
            except RedisDown as error:
                warn("redis_down", reason=error.message)
                pause = min(LONGEST_PAUSE, pause * 2 or 0.05)
            self._lease.tick()
        self._leave()

    def _serve_one_batch(self) -> None:
        token = uuid.uuid4().hex
        batch = self._claim(token)
        self._at("claimed")
        waiting = 0
        if batch:
            outcomes = self._predict(batch)
            self._at("predicted")
            self._on_batch(outcomes)
            waiting = self._complete(token, outcomes)
            self._at("completed")
        if not self._reap() and not waiting:
            self._wait_for_work()

    def _claim(self, token: str) -> list[Claimed]:
        batch = self._queue.claim(
            self._lease.worker_id, lease_seconds=self._lease.seconds, token=token, limit=self._max_batch
        )
        for claimed in batch:
            log("claimed", job=id_of(claimed.document), batch=len(batch), attempt=claimed.attempts)
        return batch

    def _wait_for_work(self) -> None:
        """Until the doorbell has rung, or a reaping has brought suspects, for whom no bell rings."""
        while not self._draining.is_set():
            self._lease.tick()
            if self._lease.is_fenced:
                raise Fenced(self._lease.worker_id)
            if self._reap() or self._doorbell.wait(self._lease.worker_id):
                self._at("rung")
                return

    def _reap(self) -> int:
        """Now and then look after the fleet; returns how many suspects wait."""
        now = time.monotonic()
        if now - self._reaped_at < self._reap_interval:
            return 0
        self._reaped_at = now
        reaped = self._queue.reap(interval=self._reap_interval / 3, max_crashes=self._max_crashes)
        if reaped.workers or reaped.jobs or reaped.convicted:
            warn("reaped", workers=reaped.workers, jobs=reaped.jobs, convicted=reaped.convicted)
        return reaped.suspects

    def _predict(self, batch: Sequence[Claimed]) -> list[Outcome]:
        """The outcome of each job, in claim order: one that cannot be computed spoils none of the others."""
        jobs: list[Job] = []
        outcomes: dict[str, Outcome] = {}
        for claimed in batch:
            try:
                job = Job.decode(claimed.document)
                if len(job.pixels) != self._model.pixel_bytes:
                    raise ValueError(
                        f"{len(job.pixels)} bytes of pixels; the model takes {self._model.pixel_bytes} "
                        f"({self._model.size[0]} x {self._model.size[1]} x 3)"
                    )
                jobs.append(job)
            except ValueError as error:
                job = Job(pixels=b"", id=id_of(claimed.document))
                outcomes[job.id] = self._give_up(job, error)
        outcomes.update(self._compute(jobs, {id_of(c.document): c for c in batch}))
        return [outcomes[id_of(claimed.document)] for claimed in batch]

    def _compute(self, jobs: Sequence[Job], claims: dict[str, Claimed]) -> dict[str, Outcome]:
        if not jobs:
            return {}
        started = time.perf_counter()
        try:
            answers = self._model.classify([job.pixels for job in jobs], [job.top for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                return {jobs[0].id: self._give_up(jobs[0], error)}
            warn("batch_failed", batch=len(jobs), reason=repr(error))
            alone: dict[str, Outcome] = {}
            for job in jobs:
                self._lease.tick()
                alone |= self._compute([job], claims)
            return alone
        facts = {
            "inference_ms": round((time.perf_counter() - started) * 1000, 2),
            "batch": len(jobs),
            "worker": self._lease.worker_id,
            "model": self._model.name,
            "weights": self._model.weights,
        }
        return {
            job.id: Outcome(
                job,
                Result(
                    id=job.id,
                    predictions=predictions,
                    facts={"queued_ms": claims[job.id].queued_ms, **facts},
                ),
            )
            for job, predictions in zip(jobs, answers, strict=True)
        }

    def _give_up(self, job: Job, error: Exception) -> Outcome:
        fail("job_failed", job=job.id, reason=repr(error))
        result = Result(id=job.id, error=JobFailed("The model failed on this image."))
        return Outcome(job, result, reason=repr(error))

    def _complete(self, token: str, outcomes: Sequence[Outcome]) -> int:
        """Bring the batch's results home; returns how many jobs wait."""
        worker_id = self._lease.worker_id
        # First, so that those that are left are what the processing list begins with.
        for outcome in outcomes:
            if outcome.reason:
                job = outcome.job
                self._insist(self._queue.fail, worker_id, job.id, job.reply_to, outcome.result, outcome.reason)
        good = [(o.job, o.result) for o in outcomes if not o.reason]
        completed = self._insist(self._queue.complete, worker_id, token, good) if good else None
        for job, result in good:
            log("completed", job=job.id, inference_ms=result.facts["inference_ms"])
        if completed is None:
            return 1
        if completed.stored < len(good):
            log("late", batch=len(good), stored=completed.stored)
        return completed.waiting

    def _insist(self, call: Callable[..., Answer], *args: object) -> Answer | None:
        """Bring computed results home, however long Redis is away: the work is done, and a repeat is safe."""
        pause, gave_up_at = 0.05, time.monotonic() + DRAIN_PATIENCE
        while True:
            self._lease.tick()
            try:
                return call(*args)
            except RedisDown as error:
                if self._draining.is_set() and time.monotonic() > gave_up_at:
                    fail("results_left", reason=error.message)
                    return None
                warn("results_wait", reason=error.message)
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    def _leave(self) -> None:
        if not self._lease.worker_id:
            return
        self._lease.stop()
        try:
            released = self._queue.release(self._lease.worker_id)
            log("left", worker=self._lease.worker_id, released=released)
        except RedisDown as error:
            # The lease ends by itself, and another worker reaps what is left.
            warn("release_failed", worker=self._lease.worker_id, reason=error.message)
