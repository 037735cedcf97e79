"""A worker in a thread, with the null model, and jobs for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from imagequeue.batch import Outcome
from imagequeue.batchlatency import BatchLatency
from imagequeue.connections import connect
from imagequeue.doorbell import Doorbell
from imagequeue.errors import ModelWrong
from imagequeue.job import Job, Result
from imagequeue.jobqueue import JobQueue
from imagequeue.lease import Lease
from imagequeue.model import Model, load
from imagequeue.selfcheck import SelfCheck
from imagequeue.worker import Worker
from tests.support.system import eventually

SIZE = (8, 8)


def job(number: int) -> Job:
    return Job(pixels=bytes([number]) * (SIZE[0] * SIZE[1] * 3), reply_to="web-1")


def null_model() -> Model:
    return load("null", weights="random", labels="imagenet", size=SIZE, preprocessing="auto", threads=1)


class Halt:
    """For `at`: the worker waits at a point, the first time that it comes there, until it may go on."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, point: str) -> None:
        if point == self.point and not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(20)


class Running:
    """A worker in a thread, and what it looks at."""

    def __init__(
        self,
        url: str,
        model: Model,
        lease_seconds: float,
        at: Callable[[str], None],
        bell_seconds: float = 0.1,
        on_batch: Callable[[Sequence[Outcome]], object] = lambda outcomes: None,
        selfcheck: SelfCheck | None = None,
    ) -> None:
        self.exits: list[int] = []
        self.is_wrong = False
        self.queue = JobQueue(connect(url, name="worker:commands"))
        bell = Doorbell(connect(url, name="worker:bell", answer_seconds=5, repeats=0), self.queue, seconds=bell_seconds)
        heart = JobQueue(connect(url, name="worker:heartbeat"))
        self.lease = Lease(heart, seconds=lease_seconds, facts={"host": "test"}, exit_process=self.exits.append)
        self.worker = Worker(
            self.queue,
            bell,
            self.lease,
            model,
            BatchLatency(model, max_batch=8),
            max_crashes=2,
            reap_interval=0.1,
            at=at,
            on_batch=on_batch,
            selfcheck=selfcheck,
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        eventually(lambda: not self.lease.is_fenced)

    def _run(self) -> None:
        try:
            self.worker.run()
        except ModelWrong:
            self.is_wrong = True

    def stop(self) -> None:
        self.worker.drain()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


def send(queue: JobQueue, *jobs: Job) -> None:
    for one in jobs:
        queue.enqueue(one, timeout=60, max_length=1000, needs_worker=False)


def results(queue: JobQueue, *jobs: Job) -> list[Result]:
    eventually(lambda: all(envelope for envelope, _ in queue.look_up([one.id for one in jobs])))
    return [Result.decode(envelope) for envelope, _ in queue.look_up([one.id for one in jobs]) if envelope]
