"""Whether a request may come in at all: decided before its body is read, so that a refusal costs next to nothing.

The queue's own limits are Redis's to decide (enqueue.lua). This is what one process can bear: how many requests
wait in it, and how many bytes of uploads it holds that are not decoded yet.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType

from imagequeue.backlog import Backlog
from imagequeue.errors import ServerBusy, Unavailable
from imagequeue.web.owner import EVERYBODY
from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.unsent import UnsentAnswers

# A refusal by Redis stands for this long without asking again: a thousand clients that come at once to a full queue
# are told so at once, and a queue that drains in the meantime is idle for a moment at most.
REFUSAL_SECONDS = 0.05
# Threads that no waiting request may take: probes must be answered while the queue is full.
RESERVED_THREADS = 8
# Where there is no room, a body whose client has been silent for so long gives its place to another: seconds.
STALL_SECONDS = 0.5
# A request waits so long for such a place, and looks for it so often: seconds.
ROOM_SECONDS = 1.0
LOOK_SECONDS = 0.02
LET_GO_AT_A_TIME = 32
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
        self._inside: set[Visit] = set()
        self._bytes = 0
        # Notified when somebody leaves.
        self._room = threading.Condition()
        self._is_reading, self._looked_at = False, 0.0
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
        if len(self._inside) >= self._max_requests and not self._is_anybody_reading():
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
        """Raises ServerBusy, or what Redis said a moment ago. body_bytes: of the body, or the most it may have.

        Where there is no room, a request waits for a moment if others only wait for their clients.
        """
        until = time.monotonic() + ROOM_SECONDS
        with self._room:
            while True:
                if (refusal := self.standing_refusal()) is not None:
                    raise type(refusal)(refusal.message, refusal.retry_after)
                lack = self._lack(body_bytes)
                if not lack:
                    break
                if time.monotonic() > until or not self._let_go():
                    raise ServerBusy(lack)
                self._room.wait(LOOK_SECONDS)
            visit = Visit(self, body_bytes)
            self._inside.add(visit)
            self._bytes += body_bytes
        return visit

    def _lack(self, body_bytes: int) -> str:
        """What there is no room for, for a person; empty if there is."""
        if len(self._inside) >= self._max_requests:
            return "This server has as many requests as it can wait for."
        return self._lack_of_memory(body_bytes)

    def _lack_of_memory(self, body_bytes: int, own: int = 0) -> str:
        """As `_lack`. own: of the bytes that are counted, those of the request that is to hold so many more."""
        # Alone, a body that is larger than all of the room gets in: the limit on uploads has allowed it.
        if self._bytes > own and self._bytes + body_bytes > self._max_bytes:
            return "This server is reading as many uploads as its memory allows."
        return ""

    def _let_go(self) -> bool:
        """Let go of those whose clients have been silent longest, if they have been for STALL_SECONDS: of one where
        memory is lacking, of some where places are, for a crowd wants those. Whether anybody's client is waited for.
        """
        waiting = [
            (client.waits_since, client)
            for visit in self._inside
            if (client := visit.client) is not None and client.waits_since is not None and not client.is_let_go
        ]
        silent_since = time.monotonic() - STALL_SECONDS
        most = LET_GO_AT_A_TIME if len(self._inside) >= self._max_requests else 1
        # By the first alone: connections have no order. It may have become None meanwhile.
        for since, client in sorted(waiting, key=lambda one: one[0] or math.inf)[:most]:
            if since is not None and since <= silent_since:
                client.let_go()
        return bool(waiting)

    def _is_anybody_reading(self) -> bool:
        """Whether room may be made; in the event loop, so not looked for each time that it asks."""
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            # A copy: threads come and go meanwhile.
            self._is_reading = any(
                visit.client is not None and visit.client.waits_since is not None for visit in self._inside.copy()
            )
        return self._is_reading

    def _hold(self, own: int, body_bytes: int) -> None:
        """Raises ServerBusy. own: see `_lack_of_memory`."""
        with self._room:
            if lack := self._lack_of_memory(body_bytes, own):
                raise ServerBusy(lack)
            self._bytes += body_bytes

    def _decoded(self, body_bytes: int) -> None:
        with self._room:
            self._bytes -= body_bytes
            self._room.notify_all()

    def _leave(self, visit: Visit) -> None:
        with self._room:
            self._inside.discard(visit)
            self._room.notify_all()


class Visit:
    """One request inside, since `entered` (of time.perf_counter); leaves when the block ends."""

    def __init__(self, door: Admission, body_bytes: int) -> None:
        self.entered = time.perf_counter()
        # When its head was here (of time.monotonic): it may have waited on the doorstep since.
        self.came = time.monotonic()
        # Called once the images are decoded and enqueued, or have failed to be: the request only waits from then on.
        self.on_decoded: Callable[[], object] = lambda: None
        # Its connection, where the server gives one away.
        self.client: PacedSocket | None = None
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
        self._door._decoded(body_bytes)
        self.on_decoded()

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.decoded()
        self._door._leave(self)
