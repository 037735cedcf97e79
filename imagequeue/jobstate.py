"""What has become of a job, for whoever asks by its id later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagequeue.connections import or_none, redis_errors
from imagequeue.errors import Cancelled, DeadlineExceeded, ImageQueueError, NotFound
from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from imagequeue.mending import finite

UNKNOWN = "There is no such job; a result is forgotten after a while."
State = Literal["waiting", "claimed", "done", "failed"]


@dataclass(frozen=True)
class JobState:
    """Where a job stands; `result` once it is done or failed."""

    id: str
    state: State
    result: Result | None = None

    @classmethod
    def of(cls, result: Result) -> JobState:
        return cls(result.id, "done" if result.error is None else "failed", result)


def look_at(queue: JobQueue, job_id: str) -> JobState:
    """One round trip. Raises NotFound for an id that is unknown, or forgotten since; RedisDown."""
    with redis_errors():
        pipeline = queue.client.pipeline(transaction=False)
        pipeline.time()
        # The job before its result: a job that is gone by then has left a result.
        pipeline.hmget(queue.key(f"job:{job_id}"), "state", "deadline")
        pipeline.get(queue.key(f"result:{job_id}"))
        now, held, envelope = map(or_none, pipeline.execute(raise_on_error=False))
    (seconds, microseconds), (state, deadline) = now, held or (None, None)
    if envelope is not None:
        return JobState.of(Result.read(job_id, envelope))
    if state is None:
        raise NotFound(UNKNOWN)
    if state == b"waiting" and finite(deadline or b"", 1e15) <= seconds * 1000 + microseconds // 1000:
        # Whatever is past its deadline is dropped when a worker comes upon it; nobody has to wait for that.
        return _give_up(queue, job_id, DeadlineExceeded("The deadline passed while the job waited."))
    return JobState(job_id, "claimed" if state == b"claimed" else "waiting")


def cancel(queue: JobQueue, job_id: str) -> JobState:
    """Give the job up, so that no worker computes it; what has a result keeps it. Raises NotFound, RedisDown."""
    found = look_at(queue, job_id)
    if found.result is not None:
        return found
    return _give_up(queue, job_id, Cancelled("The job was cancelled."))


def _give_up(queue: JobQueue, job_id: str, error: ImageQueueError) -> JobState:
    envelope = queue.cancel(job_id, error)
    return JobState.of(Result(id=job_id, error=error) if envelope is None else Result.read(job_id, envelope))
