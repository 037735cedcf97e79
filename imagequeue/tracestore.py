"""Traces in Redis, for as long as results are kept, written behind the requests' backs.

A request costs a place in a list. A thread makes the documents of what has gathered and stores them in one round trip;
what is more than it may keep is dropped, the oldest first, and nobody waits.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from imagequeue.connections import redis_errors
from imagequeue.errors import ImageQueueError
from imagequeue.events import fail, log, warn
from imagequeue.job import Result
from imagequeue.jobqueue import JobQueue
from imagequeue.trace import Trace

PAUSE_SECONDS = 0.5
# In one pause: of more than 400 jobs a second and process some leave no trace, so that traces fill no Redis. At that
# rate and a RESULT_TTL of 300 s they take some 80 MB.
MOST = 200

Seen = TypeVar("Seen")


class TraceWriter(Generic[Seen]):
    """The writing thread of one process, begun by the first trace in it: it does not survive a fork."""

    def __init__(self, queue: Callable[[], JobQueue], trace_of: Callable[[Seen], Trace]) -> None:
        """queue: on a connection of the thread's own. trace_of: called in the thread, too."""
        self._make_queue = queue
        self._trace_of = trace_of
        self._waiting: deque[Seen] = deque(maxlen=MOST)
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._pid = 0

    def add(self, seen: Seen) -> None:
        if self._pid != os.getpid():
            self._start()
        self._waiting.append(seen)

    def stop(self) -> None:
        """Write what waits, and end."""
        if self._pid == os.getpid():
            self._stopping.set()
            self._thread.join(timeout=2)

    def _start(self) -> None:
        with self._starting:
            if self._pid != os.getpid():
                self._waiting.clear()
                self._stopping = threading.Event()
                self._thread = threading.Thread(target=self._write_forever, name="traces", daemon=True)
                self._thread.start()
                self._pid = os.getpid()

    def _write_forever(self) -> None:
        queue = self._make_queue()
        is_ending = False
        while not is_ending:
            is_ending = self._stopping.wait(PAUSE_SECONDS)
            try:
                self._write(queue)
            except ImageQueueError as error:
                log("traces_lost", reason=error.message)
            except Exception as error:
                fail("traces_broke", reason=repr(error))

    def _write(self, queue: JobQueue) -> None:
        traces: list[Trace] = []
        while self._waiting and len(traces) < MOST:
            traces.append(self._trace_of(self._waiting.popleft()))
        if traces:
            with redis_errors():
                pipeline = queue.client.pipeline(transaction=False)
                for trace in traces:
                    pipeline.set(key_of(queue, trace.id), trace.encode(), px=queue.ttl_ms)
                pipeline.execute()


def key_of(queue: JobQueue, job_id: str) -> str:
    return queue.key(f"trace:{job_id}")


def find(queue: JobQueue, job_id: str) -> Trace | None:
    """The trace of a job that was answered, or accepted, some RESULT_TTL ago at most. Raises RedisDown."""
    with redis_errors():
        keys = (key_of(queue, job_id), queue.key(f"result:{job_id}"))
        document, envelope = cast("list[bytes | None]", queue.client.mget(*keys))
    if document is None:
        return None
    try:
        trace = Trace.decode(document)
        if not trace.by and envelope is not None:
            trace = trace.completed(Result.read(job_id, envelope))
        # What no account can be made of is no trace, whatever types its fields have.
        trace.described()
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError, RecursionError) as error:
        warn("trace_unreadable", job=job_id, reason=repr(error)[:200])
        return None
    return trace
