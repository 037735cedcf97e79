"""How a web process waits for all its requests' results at once: one subscription, and one poll behind it.

A request registers its job's id *before* it enqueues, so no message can come too early, and then waits on an
event of its own. The subscriber thread turns messages into events. What pub/sub loses (it loses whatever is
published while nobody listens, and says nothing) the poller thread finds, with one MGET for all outstanding
ids together.

When is a poll due? A subscription is one ordered stream: whatever is heard on it, a message or a PONG, proves
that all that was published before has been heard too. So while ids are outstanding a quiet stream is asked
with a PING; only if it stays silent for `poll_interval`, and after every new subscription, the ids are polled.
In the healthy state nothing is, however long a job waits. Pub/sub is still never trusted for good: an id that
has waited for SAFETY_POLLS intervals is polled even so.

redis-py's PubSub reconnects silently, which hides the very moment after which a poll is due; its health
check sends PINGs and never looks for the PONG. So the subscription is a plain connection here.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis

from imagequeue.connections import redis_errors
from imagequeue.errors import ClientGone, DeadlineExceeded, ImageQueueError, JobLost, RedisSilent
from imagequeue.events import fail, log, warn
from imagequeue.job import Result, id_of
from imagequeue.jobqueue import JobQueue
from imagequeue.ticket import Ticket

# A subscription silent for this many beats, its PINGs unanswered, is dropped and made anew.
SILENT_BEATS = 3
# After this many intervals an id is polled although the subscription is proven alive.
SAFETY_POLLS = 10
# A delivered result stays this long as its own tombstone: an enqueue that the network repeats finds it there.
FORGET_AFTER = 10.0
# More than a process can have waiting; beyond it the oldest are left to their deadlines.
MAX_TO_CANCEL = 10_000


class Waiter:
    """All waiting of one process. Start it after the fork: threads and connections do not survive one."""

    def __init__(
        self,
        queue: JobQueue,
        subscription: redis.Redis,
        web_id: str,
        *,
        poll_interval: float = 1.0,
        beat: float = 1.0,
    ) -> None:
        """subscription: a client whose single connection is the waiter's own; it must not repeat commands.

        poll_interval: seconds. beat: seconds between PINGs on a quiet subscription while nobody waits.
        """
        self._queue = queue
        self._subscription = subscription
        self._poll_interval = poll_interval
        self._beat = beat
        self._channel = queue.channel(web_id)
        self._heard = self._answered = time.monotonic()
        self._safety_polled = 0.0
        self._to_cancel: deque[str] = deque(maxlen=MAX_TO_CANCEL)
        self._outstanding: dict[str, Ticket] = {}
        self._delivered: deque[tuple[float, str]] = deque()
        self._stopping = threading.Event()
        self._poll_now = threading.Event()
        self._subscribed = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for work in (self._subscribe_forever, self._poll_forever):
            thread = threading.Thread(target=work, name=f"waiter{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End both threads; whoever still waits, waits for the deadline."""
        self._stopping.set()
        self._poll_now.set()
        for thread in self._threads:
            thread.join(timeout=2 * self._beat)

    @property
    def is_subscribed(self) -> bool:
        """Redis has acknowledged the subscription, and nothing has broken it since."""
        return self._subscribed.is_set()

    def seconds_away(self) -> float:
        """For how long nothing has been heard of Redis, in whatever way; 0 while there is a subscription."""
        return 0.0 if self.is_subscribed else time.monotonic() - max(self._heard, self._answered)

    def redis_answered(self) -> None:
        """Whoever has just had an answer of Redis says so: a subscription that is away does not mean that Redis is."""
        self._answered = time.monotonic()

    @contextmanager
    def expecting(self, job_id: str) -> Iterator[Ticket]:
        """Register a job for as long as the block runs; enqueue inside it."""
        ticket = self._outstanding[job_id] = Ticket(job_id)
        try:
            yield ticket
        finally:
            del self._outstanding[job_id]
            if ticket.envelope is not None:
                self._delivered.append((time.monotonic(), job_id))

    def wait(self, ticket: Ticket, until: float) -> Result:
        """The job's result, waiting no longer than the instant `until` (of time.monotonic).

        Raises DeadlineExceeded at that instant, ClientGone once the ticket is abandoned; the job is then cancelled, and
        no worker computes it.
        """
        if not ticket.wait(until - time.monotonic()):
            envelope = self._cancel(ticket)
            if envelope is None:
                raise DeadlineExceeded("The deadline passed before the image was classified.")
            ticket.resolve(envelope, "poll")
        if ticket.envelope is None:
            self.give_up(ticket.id)
            raise ClientGone("The client has hung up.")
        return Result.read(ticket.id, ticket.envelope)

    def give_up(self, job_id: str) -> None:
        """Have a job cancelled as soon as Redis can be asked: its client has been refused, or is gone."""
        self._to_cancel.append(job_id)

    def _cancel(self, ticket: Ticket) -> bytes | None:
        """Give the job up, and return its result if one was first after all."""
        if not self.is_subscribed:
            # Redis is silent, and the client has waited long enough; the poller cancels it when it can.
            self.give_up(ticket.id)
            return None
        try:
            return self._queue.cancel(ticket.id)
        except ImageQueueError as error:
            # Its deadline in Redis is later than this one, by as long as it took to enqueue it.
            warn("cancel_failed", job=ticket.id, reason=error.message)
            self.give_up(ticket.id)
            return None

    # The subscriber thread.

    def _subscribe_forever(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            began = time.monotonic()
            try:
                with redis_errors():
                    self._listen()
                pause = 0.0
            except ImageQueueError as error:
                if not self._stopping.is_set():
                    warn("subscription_lost", reason=error.message, cause=str(error.__cause__))
                # Doubling, or a Redis that is away, or does not permit it, would be called by every process without a
                # pause. One that let us in before the connection broke is there.
                is_cut = isinstance(error, RedisSilent) and self._heard > began
                pause = 0.05 if is_cut else min(1.0, pause * 2 or 0.05)
            except Exception as error:
                fail("subscriber_broke", reason=repr(error))
                pause = 1.0
            finally:
                self._subscribed.clear()

    def _listen(self) -> None:
        """One subscription, from its SUBSCRIBE until it breaks."""
        pool = self._subscription.connection_pool
        connection: Any = pool.get_connection()
        # To the connection's greeting.
        self.redis_answered()
        try:
            connection.send_command("SUBSCRIBE", self._channel)
            asked = unanswered_since = time.monotonic()
            while not self._stopping.is_set():
                # Before the look: a thread that was held up after it must not take the time for Redis's silence.
                now = time.monotonic()
                if not connection.can_read(timeout=min(self._beat, self._poll_interval) / 2):
                    beat = self._poll_interval / 2 if self._outstanding else self._beat
                    if unanswered_since and now - unanswered_since > SILENT_BEATS * beat:
                        raise redis.ConnectionError(f"silent for {now - unanswered_since:.1f} s")
                    if now - max(asked, self._heard) >= beat:
                        connection.send_command("PING", check_health=False)
                        asked = now
                        unanswered_since = unanswered_since or now
                    continue
                kind, *rest = connection.read_response()
                self._heard, unanswered_since = time.monotonic(), 0.0
                if kind == b"message":
                    self._resolve(rest[1], "message")
                elif kind == b"subscribe":
                    log("subscribed", level=logging.DEBUG, channel=self._channel)
                    # What was published before this moment went to nobody.
                    self._poll_now.set()
                    self._subscribed.set()
        finally:
            # A connection in subscriber mode is of no other use; the next round makes a new one.
            connection.disconnect()
            pool.release(connection)

    def _resolve(self, envelope: bytes, came_by: str) -> None:
        ticket = self._outstanding.get(id_of(envelope))
        if ticket is not None:
            ticket.resolve(envelope, came_by)

    # The poller thread.

    def _poll_forever(self) -> None:
        is_due = False
        while not self._stopping.is_set():
            if self._poll_now.wait(self._poll_interval):
                self._poll_now.clear()
                is_due = True
            try:
                # Until it has succeeded, and none is missing for the first time.
                is_due = self._poll(min_age=0.0 if is_due else self._age_to_poll())
                self._forget_delivered()
                self._cancel_late()
            except ImageQueueError as error:
                warn("poll_failed", reason=error.message)
                self._stopping.wait(self._poll_interval)
            except Exception as error:
                fail("poller_broke", reason=repr(error))
                self._stopping.wait(self._poll_interval)
        # What was given up last.
        with suppress(ImageQueueError):
            self._cancel_late()

    def _age_to_poll(self) -> float:
        """How many seconds an id must have waited before it is worth asking for."""
        now = time.monotonic()
        if not self.is_subscribed or now - self._heard > self._poll_interval:
            return self._poll_interval
        safety = SAFETY_POLLS * self._poll_interval
        if now - self._safety_polled < safety:
            return math.inf
        self._safety_polled = now
        return safety

    def _poll(self, min_age: float) -> bool:
        """True if some were missed for the first time: to be certain, they are asked for again."""
        now = time.monotonic()
        # list() of a dict's values is one step under the interpreter's lock; the requests go on meanwhile.
        old = [t for t in list(self._outstanding.values()) if now - t.born >= min_age and t.envelope is None]
        if not old:
            return False
        known = self._queue.look_up([t.id for t in old])
        self.redis_answered()
        found = 0
        for ticket, (envelope, is_known) in zip(old, known, strict=True):
            if envelope is not None:
                ticket.resolve(envelope, "poll")
                found += 1
            elif not is_known and ticket.is_enqueued:
                self._lose(ticket)
        log("polled", level=logging.DEBUG, asked=len(old), found=found)
        return any(t.is_missing and t.envelope is None for t in old)

    def _lose(self, ticket: Ticket) -> None:
        """Redis knows neither the job nor a result: it was restarted without its data."""
        # Only when it is missed twice: its result may be on its way, published and expired since.
        if ticket.is_missing:
            lost = Result(id=ticket.id, error=JobLost("Redis has lost the image; send it again."))
            ticket.resolve(lost.encode(), "poll")
        ticket.is_missing = True

    def _forget_delivered(self) -> None:
        horizon = time.monotonic() - FORGET_AFTER
        ids: list[str] = []
        while self._delivered and self._delivered[0][0] < horizon and len(ids) < 1000:
            ids.append(self._delivered.popleft()[1])
        if ids:
            self._queue.forget(ids)

    def _cancel_late(self) -> None:
        while ids := list(self._to_cancel)[:1000]:
            self._queue.cancel_all(ids)
            for _ in ids:
                self._to_cancel.popleft()
