"""Whether a request may come in at all: decided before its body is read, so that a refusal costs next to nothing.

The queue's own limits are Redis's to decide (enqueue.lua). This is what one process can bear: how many requests
wait in it, and how many bytes of uploads it holds that are not decoded yet.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from imagequeue.backlog import Backlog
from imagequeue.errors import ServerBusy, Unavailable
from imagequeue.web.owner import EVERYBODY
from imagequeue.web.unsent import UnsentAnswers

# A refusal by Redis stands for this long without asking again: a thousand clients that come at once to a full queue
# are told so at once, and a queue that drains in the meantime is idle for a moment at most.
REFUSAL_SECONDS = 0.05
# Threads that no waiting request may take: probes must be answered while the queue is full.
RESERVED_THREADS = 8
# Of all requests of a process together; the largest single upload is MAX_UPLOAD_BYTES.
MAX_UNDECODED_BYTES = 128 * 2**20


class Admission:
    """The door of one process."""

    def __init__(self, *, max_requests: int, max_bytes: int, max_waiting: int) -> None:
        """max_requests: that may be inside at the same time. max_bytes: of bodies read and not yet decoded.

        max_waiting: MAX_QUEUE_LENGTH, or what `auto` stands for.
        """
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.max_waiting = max_waiting
        # Of the process's connections, as far as their clients have not taken them.
        self.unsent = UnsentAnswers()
        self._requests = 0
        self._bytes = 0
        self._lock = threading.Lock()
        self._refusal: Unavailable | None = None
        self._refused_at = 0.0
        self._backlog = Backlog(0, 0.0)
        self._accepted_at = 0.0

    def remember(self, refusal: Unavailable) -> None:
        """Redis has refused a job; the next requests will hear the same for a moment."""
        self._refused_at = time.monotonic()
        self._refusal = refusal

    def accepted(self, backlog: Backlog) -> None:
        """Redis has accepted a job, and so many wait with it."""
        self._backlog, self._accepted_at = backlog, time.monotonic()
        self._refusal = None

    @property
    def is_doubtful(self) -> bool:
        """Redis's last word was a refusal, whether that still stands or not."""
        return self._refusal is not None

    def standing_refusal(self) -> Unavailable | None:
        """What any request would hear that asked to be let in now; None if that depends on the request."""
        refusal = self._refusal
        if refusal is not None and time.monotonic() - self._refused_at < REFUSAL_SECONDS:
            return refusal
        if self._requests >= self._max_requests:
            return ServerBusy("This server has as many requests as it can wait for.")
        if self.unsent.is_full:
            return ServerBusy("This server holds as many answers as its memory allows that were not taken yet.")
        return None

    def refusal_behind(self, others: int) -> Unavailable | None:
        """What the last of `others` hears that want to come in, if no more may wait than MAX_QUEUE_LENGTH, or than the
        workers compute in time: here or in Redis, as far as that told lately.
        """
        backlog = self._backlog
        depth = backlog.depth if time.monotonic() - self._accepted_at < REFUSAL_SECONDS else 0
        most = min(self.max_waiting, backlog.most or self.max_waiting) if depth else self.max_waiting
        # Of one alone nobody knows: the job that was accepted last counts in `depth`, and may be with a worker already.
        if others <= 1 or depth + others <= most:
            return None
        return Backlog(most, backlog.seconds_each).refusal(is_late=most < self.max_waiting)

    def enter(self, body_bytes: int) -> Visit:
        """Raises ServerBusy, or what Redis said a moment ago. body_bytes: of the body, or the most it may have."""
        with self._lock:
            refusal = self.standing_refusal()
            if refusal is not None:
                raise type(refusal)(refusal.message, refusal.retry_after)
            # Alone, a body that is larger than all of the room gets in: the limit on uploads has allowed it.
            if self._bytes and self._bytes + body_bytes > self._max_bytes:
                raise ServerBusy("This server is reading as many uploads as its memory allows.")
            self._requests += 1
            self._bytes += body_bytes
        return Visit(self, body_bytes)

    def _hold(self, own: int, body_bytes: int) -> None:
        """own: of the bytes that are counted, those of the request that is to hold so many more."""
        with self._lock:
            if self._bytes > own and self._bytes + body_bytes > self._max_bytes:
                raise ServerBusy("This server is reading as many uploads as its memory allows.")
            self._bytes += body_bytes

    def _leave(self, requests: int, body_bytes: int) -> None:
        with self._lock:
            self._requests -= requests
            self._bytes -= body_bytes


class Visit:
    """One request inside, since `entered` (of time.perf_counter); leaves when the block ends."""

    def __init__(self, door: Admission, body_bytes: int) -> None:
        self.entered = time.perf_counter()
        # When its head was here (of time.monotonic): it may have waited on the doorstep since.
        self.came = time.monotonic()
        # Called once the images are decoded and enqueued, or have failed to be: the request only waits from then on.
        self.on_decoded: Callable[[], object] = lambda: None
        # Its connection, where the server gives one away.
        self.client: socket.socket | None = None
        # Of the jobs that it sends.
        self.owner = EVERYBODY
        self._door = door
        self._bytes = body_bytes

    def hold(self, body_bytes: int) -> None:
        """The request is about to hold so many bytes, which may be more than it declared. Raises ServerBusy."""
        if body_bytes > self._bytes:
            self._door._hold(self._bytes, body_bytes - self._bytes)
            self._bytes = body_bytes

    def decoded(self) -> None:
        """The body's images have become pixels, and the body is let go."""
        body_bytes, self._bytes = self._bytes, 0
        self._door._leave(0, body_bytes)
        self.on_decoded()

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.decoded()
        self._door._leave(1, 0)
