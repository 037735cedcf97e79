"""What a worker made of a job, without a worker."""

from __future__ import annotations

from imagequeue.errors import JobFailed
from imagequeue.job import Job, Result
from imagequeue.worker import Outcome


def good(inference_ms: float, queued_ms: int) -> Outcome:
    job = Job(pixels=b"")
    return Outcome(job, Result(id=job.id, facts={"inference_ms": inference_ms, "queued_ms": queued_ms}))


def failed() -> Outcome:
    job = Job(pixels=b"")
    return Outcome(job, Result(id=job.id, error=JobFailed("no")), reason="ValueError()")
