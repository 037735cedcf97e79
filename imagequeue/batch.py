"""A claimed batch on its way through the model: documents → pixels → probabilities → outcomes.

Made ready in the worker's loop, computed in the model's own thread, so that the next batch is claimed, decoded and
stacked while the model is busy with this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass

from imagequeue.errors import JobFailed
from imagequeue.events import fail, warn
from imagequeue.job import Job, Prediction, Result, id_of
from imagequeue.model import Model
from imagequeue.replies import Claimed
from imagequeue.runtimes import Pixels

Answers = tuple[list[tuple[Prediction, ...]], float]
"""For each job its predictions, best first, and the milliseconds that the model took for all."""


@dataclass(frozen=True)
class Outcome:
    """A job with what became of it; `reason` is set if it is given up."""

    job: Job
    result: Result
    reason: str = ""


class Batch:
    """Jobs that are computed together; empty when there was nothing to claim."""

    def __init__(self, claims: Sequence[Claimed], token: str, model: Model, *, worker_id: str) -> None:
        """Decodes every document; one that is no image of the model's size is given up, and spoils none of the others.

        claims: in the order of the processing list. token: what they were claimed with.
        """
        self.token = token
        self._claims = claims
        # An instant of time.perf_counter.
        self.claimed_at = time.perf_counter()
        self._model = model
        self._worker_id = worker_id
        self._given_up: dict[str, Outcome] = {}
        self._jobs = [job for claimed in claims if (job := self._decode(claimed))]
        self._pixels = model.batch_of([job.pixels for job in self._jobs]) if self._jobs else None
        self._computed: Future[Answers] | None = None
        self._started = 0.0
        # Seconds that the model took; 0 until it has answered, and where it has failed.
        self.model_seconds = 0.0

    def __len__(self) -> int:
        """How many documents were claimed, those that could not be decoded included."""
        return len(self._claims)

    @property
    def is_suspect(self) -> bool:
        """A worker has died of a job in it, and this one may."""
        return any(claimed.crashes for claimed in self._claims)

    def start(self, model_thread: Executor) -> None:
        """Have the model compute it."""
        self._started = time.perf_counter()
        if self._pixels is not None:
            self._computed = model_thread.submit(self._compute, self._pixels, self._jobs)

    @property
    def is_started(self) -> bool:
        return self._started > 0

    def wait(self, seconds: float) -> None:
        """Until the model is done with it, but no longer than that."""
        if self._computed is not None:
            wait_for([self._computed], timeout=seconds)

    def outcomes(self, tick: Callable[[], object]) -> list[Outcome]:
        """The outcome of each job, in claim order; waits for the model. tick: called while more is to be done."""
        found = dict(self._given_up)
        if self._computed is not None:
            try:
                answers = self._computed.result()
                found |= self._described(self._jobs, answers)
                self.model_seconds = answers[1] / 1000
            except Exception as error:
                found |= self._one_by_one(error, tick)
        return [found[id_of(claimed.document)] for claimed in self._claims]

    def _decode(self, claimed: Claimed) -> Job | None:
        try:
            job = Job.decode(claimed.document)
            if len(job.pixels) != self._model.pixel_bytes:
                width, height = self._model.size
                raise ValueError(
                    f"{len(job.pixels)} bytes of pixels; the model takes {self._model.pixel_bytes} "
                    f"({width} x {height} x 3)"
                )
        except ValueError as error:
            job = Job(pixels=b"", id=id_of(claimed.document))
            self._given_up[job.id] = _give_up(job, error)
            return None
        return job

    def _compute(self, pixels: Pixels, jobs: Sequence[Job]) -> Answers:
        started = time.perf_counter()
        answers = self._model.classify(pixels, [job.top for job in jobs])
        return answers, (time.perf_counter() - started) * 1000

    def _one_by_one(self, error: Exception, tick: Callable[[], object]) -> dict[str, Outcome]:
        """One of the jobs has raised: found by computing each alone."""
        if len(self._jobs) == 1:
            return {self._jobs[0].id: _give_up(self._jobs[0], error)}
        warn("batch_failed", batch=len(self._jobs), reason=repr(error))
        found: dict[str, Outcome] = {}
        for job in self._jobs:
            tick()
            try:
                found |= self._described([job], self._compute(self._model.batch_of([job.pixels]), [job]))
            except Exception as again:
                found[job.id] = _give_up(job, again)
        return found

    def _described(self, jobs: Sequence[Job], computed: Answers) -> dict[str, Outcome]:
        answers, inference_ms = computed
        queued = {id_of(claimed.document): claimed.queued_ms for claimed in self._claims}
        facts = {
            # By Redis's clock; from then on only lengths, so that this host's clock does not matter.
            "claimed_at": self._claims[0].claimed_at,
            "waited_ms": round((self._started - self.claimed_at) * 1000, 2),
            "inference_ms": round(inference_ms, 2),
            "batch": len(jobs),
            "worker": self._worker_id,
            "model": self._model.name,
            "weights": self._model.weights,
        }
        return {
            job.id: Outcome(job, Result(job.id, predictions, facts={"queued_ms": queued[job.id], **facts}))
            for job, predictions in zip(jobs, answers, strict=True)
        }


def _give_up(job: Job, error: Exception) -> Outcome:
    fail("job_failed", job=job.id, reason=repr(error))
    result = Result(id=job.id, error=JobFailed("The model failed on this image."))
    return Outcome(job, result, reason=repr(error))
