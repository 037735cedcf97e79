"""The worker: claim a batch, predict it, complete it, until told to drain.

While the model computes a batch, the next one is claimed and made ready, so that the model never waits for Redis. It
is claimed as late as possible, shortly before the model will be done: until then another worker may take the jobs,
and more of them come together. A model that has lanes is given it at once.

It keeps no state that matters. What it holds lies in its processing list in Redis until the very script that
stores the results, so it may die at any line of this file; docs/protocol.md says who picks up what.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from imagequeue.batch import Batch, Outcome
from imagequeue.batchlatency import BatchLatency
from imagequeue.doorbell import Doorbell
from imagequeue.errors import Fenced, ModelWrong, RedisDown
from imagequeue.events import fail, log, warn
from imagequeue.job import id_of
from imagequeue.jobqueue import JobQueue
from imagequeue.lease import Lease
from imagequeue.model import Model
from imagequeue.replies import Completed
from imagequeue.selfcheck import SelfCheck

# How long a drain waits for a Redis that is away before it leaves the results to another worker.
DRAIN_PATIENCE = 10.0
LONGEST_PAUSE = 2.0
# A model that is faster than this is not worth working ahead for: it has answered before anything is claimed.
WORTH_OVERLAPPING = 0.005

Answer = TypeVar("Answer")


class Worker:
    """One model, one loop. `run` returns when the drain is done."""

    def __init__(
        self,
        queue: JobQueue,
        doorbell: Doorbell,
        lease: Lease,
        model: Model,
        latency: BatchLatency,
        *,
        max_crashes: int,
        reap_interval: float = 3.0,
        at: Callable[[str], None] = lambda point: None,
        on_batch: Callable[[Sequence[Outcome]], object] = lambda outcomes: None,
        selfcheck: SelfCheck | None = None,
    ) -> None:
        """latency: of `model`, and how many jobs to claim together. max_crashes: see reap.lua. reap_interval: seconds.

        at: called with the name of each point of the loop that it passes; tests end the process there.
        on_batch: called with each batch whose results are stored. selfcheck: of `model`; without, none is made.
        """
        self._queue = queue
        self._doorbell = doorbell
        self._lease = lease
        self._model = model
        self._max_crashes = max_crashes
        self._reap_interval = reap_interval
        self._reaped_at = 0.0
        self._at = at
        self._on_batch = on_batch
        self._selfcheck = selfcheck or SelfCheck(model, images=0)
        self._latency = latency
        self._suspects = 0
        self._may_hold_more = False
        # One for each batch that the model has at a time, and for its life: runtimes bind their buffers and streams to
        # the thread that computes.
        self._most_batches = 2 if model.has_lanes else 1
        self._model_threads = ThreadPoolExecutor(self._most_batches, thread_name_prefix="model")
        self._draining = threading.Event()
        self._drained_at = 0.0

    def drain(self) -> None:
        """Claim no more, finish the batch in hand, and let `run` return. From any thread."""
        self._drained_at = time.monotonic()
        self._draining.set()

    def run(self) -> None:
        """Raises ModelWrong: no answer was stored since, and all jobs in hand were handed back, uncharged."""
        self._start_model_threads()
        try:
            self._selfcheck.start(self._model_threads)
            self._work()
        finally:
            self._selfcheck.stop()

    def _work(self) -> None:
        pause = 0.0
        while not self._draining.wait(pause):
            try:
                if self._lease.is_fenced:
                    self._lease.take()
                self._serve_while_there_is_work()
                self._wait_for_work()
                pause = 0.0
            except Fenced:
                warn("fenced", worker=self._lease.worker_id)
                self._lease.fence()
            except RedisDown as error:
                warn("redis_down", reason=error.message)
                # A part of the lease, so that a loop that pauses is not taken for one that has stopped.
                pause = min(LONGEST_PAUSE, self._lease.seconds / 3, pause * 2 or 0.05)
            except ModelWrong:
                self._leave()
                raise
            self._lease.tick()
        self._leave()

    def _start_model_threads(self) -> None:
        """Now, with empty hands: a system that has no thread left is told of it before any job is claimed."""
        all_there = threading.Barrier(self._most_batches + 1)
        try:
            for _ in range(self._most_batches):
                self._model_threads.submit(all_there.wait)
        except RuntimeError:
            # Those that are there would wait for ever, and the process for them.
            all_there.abort()
            raise
        all_there.wait()

    def _serve_while_there_is_work(self) -> None:
        batch = self._begun(self._claim())
        while batch:
            following = self._claim_ahead(batch)
            outcomes = batch.outcomes(self._lease.tick)
            self._latency.has_one_batch()
            self._at("predicted")
            self._selfcheck.confirm(self._lease.tick)
            completed = self._complete(batch, outcomes)
            self._at("completed")
            # The model goes on before the books are kept; but not before the results are home, for it might die. One
            # that has lanes has begun already: its gain is the greater.
            following = self._begun(following)
            self._account_for(outcomes, completed)
            self._lease.tick()
            self._reap_beside(following)
            is_more = completed is None or completed.waiting or self._suspects or self._may_hold_more
            if is_more and not following and not self._draining.is_set():
                following = self._begun(self._claim())
            batch = following

    def _begun(self, batch: Batch | None) -> Batch | None:
        """The batch, with the model at it; None where there is none, or no time for it: a drain hands it back."""
        if batch is None or batch.is_started:
            return batch
        if self._draining.is_set():
            return None
        self._at("claimed")
        # Before this batch and behind the one that the model may be at, so that either waits for the check alone.
        self._selfcheck.begin_if_due()
        batch.start(self._model_threads)
        self._latency.has_one_batch()
        return batch

    def _claim(self, held: int = 0, ahead: float = 0.0) -> Batch | None:
        """The next batch, ready to be computed. held: jobs in hand that are not completed, for `ahead` seconds more."""
        token = uuid.uuid4().hex
        claims = self._queue.claim(
            self._lease.worker_id,
            lease_seconds=self._lease.seconds,
            token=token,
            limit=self._latency.limit,
            held=held,
            latency=self._latency.of_next(ahead),
        )
        self._may_hold_more = False
        for claimed in claims:
            log("claimed", job=id_of(claimed.document), batch=len(claims), attempt=claimed.attempts)
        return Batch(claims, token, self._model, worker_id=self._lease.worker_id) if claims else None

    def _claim_ahead(self, batch: Batch) -> Batch | None:
        """The batch after the one that the model has, claimed just in time; None where there is none, or no hurry.

        A model that has lanes is at it; but none gets a batch beside one with an image that a worker has died of.
        """
        # Nothing else may die with a suspect; and suspects that wait are claimed with empty hands only.
        if batch.is_suspect or self._suspects or self._model.seconds_for(len(batch)) < WORTH_OVERLAPPING:
            return None
        batch.wait(self._latency.seconds_before_claim(len(batch)))
        if self._draining.is_set():
            return None
        started = time.perf_counter()
        try:
            following = self._claim(len(batch), self._latency.seconds_left(len(batch)))
        except Fenced:
            # The batch in hand comes first: its results count even so.
            self._lease.fence()
            return None
        except RedisDown:
            # Its answer may be lost and its jobs in the processing list, for which no bell will ring again.
            self._may_hold_more = True
            return None
        if following:
            self._latency.claimed_ahead(time.perf_counter() - started)
            if self._model.has_lanes and not following.is_suspect:
                return self._begun(following)
        return following

    def _wait_for_work(self) -> None:
        """Until the doorbell has rung, or a reaping has brought suspects, for whom no bell rings."""
        while not self._draining.is_set():
            self._lease.tick()
            if self._lease.is_fenced:
                raise Fenced(self._lease.worker_id)
            self._selfcheck.begin_if_due()
            self._selfcheck.confirm(self._lease.tick)
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
        self._suspects = reaped.suspects
        if reaped.workers or reaped.jobs or reaped.convicted:
            warn("reaped", workers=reaped.workers, jobs=reaped.jobs, convicted=reaped.convicted)
        return reaped.suspects

    def _reap_beside(self, batch: Batch | None) -> None:
        """`_reap` while the model has `batch`, which comes first: whatever Redis says, its results are waited for."""
        try:
            self._reap()
        except RedisDown as error:
            if batch is None:
                raise
            warn("redis_down", reason=error.message)

    def _complete(self, batch: Batch, outcomes: Sequence[Outcome]) -> Completed | None:
        """Bring the batch's results home; None where that told nothing of the queue."""
        worker_id, since = self._lease.worker_id, time.monotonic()
        complete = partial(self._queue.complete, busy=self._latency.done(batch))
        # First, so that those that are left are what the processing list begins with.
        for outcome in outcomes:
            if outcome.reason:
                job = outcome.job
                self._insist(since, self._queue.fail, worker_id, job.id, job.reply_to, outcome.result, outcome.reason)
        good = [(o.job, o.result) for o in outcomes if not o.reason]
        return self._insist(since, complete, worker_id, batch.token, good) if good else None

    def _account_for(self, outcomes: Sequence[Outcome], completed: Completed | None) -> None:
        """The books of a batch whose results are stored."""
        if completed:
            self._suspects = completed.suspects
        good = [outcome.result for outcome in outcomes if not outcome.reason]
        if good and completed is None:
            # They were left to another worker, which will tell of them.
            return
        self._on_batch(outcomes)
        self._selfcheck.answered(len(good))
        for result in good:
            log("completed", job=result.id, inference_ms=result.facts["inference_ms"])
        if completed and completed.stored < len(good):
            log("late", batch=len(good), stored=completed.stored)

    def _insist(self, since: float, call: Callable[..., Answer], *args: object) -> Answer | None:
        """Bring computed results home, however long Redis is away: the work is done, and a repeat is safe.

        since: the instant (of time.monotonic) from which on a drain's patience counts.
        """
        pause = 0.05
        while True:
            self._lease.tick()
            try:
                return call(*args)
            except RedisDown as error:
                patience_from = max(since, self._drained_at)
                if self._draining.is_set() and time.monotonic() > patience_from + DRAIN_PATIENCE:
                    fail("results_left", reason=error.message)
                    return None
                warn("results_wait", reason=error.message)
                self._latency.disturbed()
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, self._lease.seconds / 3, pause * 2)

    def _leave(self) -> None:
        self._model_threads.shutdown(wait=False)
        if not self._lease.worker_id:
            return
        self._lease.stop()
        try:
            released = self._queue.release(self._lease.worker_id)
            log("left", worker=self._lease.worker_id, released=released)
        except RedisDown as error:
            # The lease ends by itself, and another worker reaps what is left.
            warn("release_failed", worker=self._lease.worker_id, reason=error.message)
