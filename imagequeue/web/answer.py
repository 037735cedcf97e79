"""What became of one image of a request, and where its time went."""

from __future__ import annotations

import time
from dataclasses import dataclass

from imagequeue.errors import ImageQueueError
from imagequeue.job import Result
from imagequeue.web.cache import Lead
from imagequeue.web.owner import EVERYBODY, Owner


@dataclass
class Answer:
    """A result, or the error that kept the image from one."""

    id: str
    result: Result | None = None
    error: ImageQueueError | None = None
    decode_ms: float = 0.0
    enqueue_ms: float = 0.0
    # The instant (of time.perf_counter) at which Redis had the job.
    enqueued_at: float = 0.0
    # From when the worker had the result until the request's thread went on: complete, publish, message, wake.
    wake_ms: float = 0.0
    # From when the request was let in, its body still unread.
    total_ms: float = 0.0
    # The instants (of time.perf_counter) at which the request was let in, and at which the answer was here.
    entered: float = 0.0
    woken_at: float = 0.0
    came_by: str = ""
    owner: Owner = EVERYBODY
    # Of an image that others, with equal ones, wait for.
    lead: Lead | None = None

    def close(self, entered: float) -> None:
        """The answer is there: how long it took, since the request was let in at `entered`."""
        now = time.perf_counter()
        self.entered = entered
        self.total_ms = (now - entered) * 1000
        if self.result is not None and self.enqueued_at:
            # The worker's stages are by other clocks, so only their lengths count.
            elsewhere = self.fact("queued_ms") + self.fact("inference_ms")
            self.wake_ms = max(0.0, (now - self.enqueued_at) * 1000 - elsewhere)

    def fact(self, name: str) -> float:
        """A number that the worker told of the way there; 0 if it did not."""
        return float(self.result.facts.get(name, 0)) if self.result is not None else 0.0

    def stages(self) -> dict[str, float]:
        """How long each stage took, ms, in the order of an image's way."""
        return {
            "decode": self.decode_ms,
            "enqueue": self.enqueue_ms,
            "queue": self.fact("queued_ms"),
            "inference": self.fact("inference_ms"),
            "wake": self.wake_ms,
            "total": self.total_ms,
        }

    @property
    def status(self) -> int:
        """As HTTP has it, had the request been of this image alone."""
        if self.error is not None:
            return self.error.status
        return 200 if self.result is not None else 202
