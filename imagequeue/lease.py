"""A worker's lease: the promise, renewed by a thread, that its loop is alive.

The thread has a connection of its own, because the worker's may be busy with a long answer. It renews only
while the worker's loop ticks: a model that hangs must lose its lease, or its jobs would be held for ever. A
worker that has not ticked for a second lease ends its process, so that whoever supervises it starts another.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable

from imagequeue.connections import host_name
from imagequeue.errors import Fenced, RedisDown
from imagequeue.events import fail, log, warn
from imagequeue.jobqueue import JobQueue

# BSD's EX_SOFTWARE: an internal fault, to be told from the 0 of a drain and the 2 of a wrong setting.
STALLED_EXIT_CODE = 70


def owner_name(pid: int) -> str:
    """What every worker id of that process of this host begins with."""
    return f"{host_name()}:{pid}"


class Lease:
    """One incarnation after another of one worker process; each has an id that no other ever had."""

    def __init__(
        self,
        queue: JobQueue,
        *,
        seconds: float,
        facts: dict[str, str | int | float],
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        """queue: on a client of its own. facts: about this worker, for people. exit_process: for tests."""
        self._queue = queue
        self.seconds = seconds
        self._facts = facts
        self._exit_process = exit_process
        self._ticked = time.monotonic()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.worker_id = ""
        self.is_fenced = True

    def take(self) -> None:
        """Become a new incarnation, with a lease of its own. Raises RedisDown."""
        worker_id = f"{owner_name(os.getpid())}:{uuid.uuid4().hex}"
        self.tick()
        self._queue.join(worker_id, self.seconds, self._facts)
        self.worker_id = worker_id
        self.is_fenced = False
        log("joined", worker=worker_id, lease=self.seconds)
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat_forever, name="lease", daemon=True)
            self._thread.start()

    def tick(self) -> None:
        """The worker's loop is alive."""
        self._ticked = time.monotonic()

    def fence(self) -> None:
        """The lease is known to be lost; `take` gets a new one."""
        self.is_fenced = True

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=self.seconds)

    def _beat_forever(self) -> None:
        pause, silence, ticked = self.seconds / 3, 0.0, self._ticked
        while not self._stopping.wait(pause):
            # By this thread's own waits, not by the clock: while the process was stopped, or got no processor, the
            # loop could not tick either, and is no more to blame for it than this thread.
            silence = silence + pause if self._ticked == ticked else 0.0
            pause, ticked = self.seconds / 3, self._ticked
            if silence > 2 * self.seconds:
                fail("stalled", worker=self.worker_id, seconds=round(silence, 1), exit=STALLED_EXIT_CODE)
                self._exit_process(STALLED_EXIT_CODE)
                return
            if silence > self.seconds:
                warn("lease_not_renewed", worker=self.worker_id, loop_silent=round(silence, 1))
            elif not self.is_fenced:
                pause = self._beat()

    def _beat(self) -> float:
        """Renew once; returns the seconds to wait before the next time."""
        worker_id = self.worker_id
        try:
            self._queue.heartbeat(worker_id, self.seconds)
        except Fenced:
            # Unless the loop has noticed first and taken a new id meanwhile.
            if worker_id == self.worker_id:
                self.is_fenced = True
        except RedisDown as error:
            warn("heartbeat_failed", worker=worker_id, reason=error.message)
            return min(1.0, self.seconds / 10)
        return self.seconds / 3
