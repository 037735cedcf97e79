"""What every endpoint does with images, whatever format they came in: decode, enqueue, wait.

One Classifier per process. It starts after the fork: neither the subscription nor its threads survive one.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from imagequeue.backlog import MOST_WAITING
from imagequeue.connections import POOL_SIZE, connect, host_name, is_in_doubt
from imagequeue.errors import (
    ImageQueueError,
    NoConnection,
    NoWorkers,
    QueueFull,
    RedisDown,
    without_frames,
)
from imagequeue.events import log
from imagequeue.job import Job
from imagequeue.jobqueue import JobQueue
from imagequeue.overview import Lookout, look
from imagequeue.ticket import Ticket
from imagequeue.waiter import Waiter
from imagequeue.web.admission import MAX_UNDECODED_BYTES, RESERVED_THREADS, Admission, Visit
from imagequeue.web.answer import Answer
from imagequeue.web.cache import Follower, ResultCache
from imagequeue.web.decoding.pool import DecoderPool
from imagequeue.web.decoding.reader import BodyReader
from imagequeue.web.decoding.turn import Turn
from imagequeue.web.hangups import HangUps
from imagequeue.writable import WriteProbe

# A subscription is made anew within milliseconds, unless its thread waits a second for its turn on a busy machine.
REDIS_AWAY_SECONDS = 2.0


class Classifier:
    """Images in, answers out; see docs/protocol.md for what happens between."""

    def __init__(
        self,
        *,
        redis_url: str,
        queue_name: str,
        result_ttl: float,
        decoders: DecoderPool,
        max_queue_length: int | None,
        max_queue_bytes: int,
        timeout: float,
        job_timeout: float,
        poll_interval: float,
        cache_seconds: float = 0.0,
        threads: int,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        """timeout, job_timeout, poll_interval, result_ttl: seconds. decoders: not started yet.

        timeout: of a job that a client waits for. job_timeout: of one that is submitted and asked for later.
        max_queue_length: images that may wait; None: as many as will be answered in time, at most MOST_WAITING.
        cache_seconds: how long answers serve equal images; 0: not at all. threads: requests served at the same time.
        """
        self.decoders = decoders
        self.max_upload_bytes = decoders.max_upload_bytes
        # Called with each image's answer, by the thread that gives it.
        self.on_answer: list[Callable[[Answer], object]] = []
        self.on_stop: list[Callable[[], object]] = []
        self.lookout = Lookout(lambda: look(self.queue))
        self._is_draining = is_draining
        self.redis_url = redis_url
        self.queue_name = queue_name
        self.result_ttl = result_ttl
        most_waiting = max_queue_length or MOST_WAITING
        self._limits: dict[str, Any] = {"max_length": most_waiting, "max_bytes": max_queue_bytes}
        self.timeout = timeout
        self._job_timeout = job_timeout
        self._poll_interval = poll_interval
        self._cache = ResultCache(cache_seconds) if cache_seconds else None
        requests = max(1, threads - RESERVED_THREADS)
        self.door = Admission(max_requests=requests, max_bytes=MAX_UNDECODED_BYTES, max_waiting=most_waiting)
        self._starting = threading.Lock()
        self._pid = 0

    def start(self) -> None:
        """Connect and subscribe, once in each process. Nothing is sent to Redis that could fail the start."""
        if self._pid == os.getpid():
            return
        with self._starting:
            if self._pid == os.getpid():
                return
            name = f"web:{host_name()}:{os.getpid()}"
            self.web_id = f"{name}:{uuid.uuid4().hex[:8]}"
            connections = connect(self.redis_url, name=name, size=POOL_SIZE)
            self._queue = JobQueue(connections, self.queue_name, result_ttl=self.result_ttl)
            self._writes = WriteProbe(self._queue)
            # No repeats: a lost subscription must be noticed, not mended behind the waiter's back.
            subscription = connect(self.redis_url, name=f"{name}:waiter", repeats=0)
            self._waiter = Waiter(self._queue, subscription, self.web_id, poll_interval=self._poll_interval)
            self._waiter.start()
            self._hang_ups = HangUps()
            self._hang_ups.start()
            self.decoders.start()
            self._pid = os.getpid()

    def stop(self) -> None:
        if self._pid == os.getpid():
            self._hang_ups.stop()
            self._waiter.stop()
            self.decoders.stop()
            for ending in self.on_stop:
                ending()

    def why_not_ready(self) -> str:
        """Empty when a request sent now would be served; else what is missing."""
        self.start()
        if self._is_draining():
            return "draining"
        try:
            workers = self._queue.live_workers()
            self._waiter.redis_answered()
        except RedisDown:
            return "redis"
        if not self._waiter.is_subscribed:
            return "subscription"
        if not self.decoders.is_ready:
            return "decoders"
        return self._writes.refusal() or ("" if workers else "no worker")

    @property
    def queue(self) -> JobQueue:
        """The queue, on this process's connections. Raises RedisDown."""
        self.start()
        if self._waiter.seconds_away() > REDIS_AWAY_SECONDS:
            # At once: asking a Redis that is silent would hold a thread for seconds first.
            raise RedisDown("Redis does not answer.")
        return self._queue

    def admit(self, content_length: int | None) -> Visit:
        """Let a request in, before its body is read. Raises Unavailable, as ServerBusy, QueueFull, RedisDown …"""
        _ = self.queue
        limit = self.max_upload_bytes
        return self.door.enter(limit if content_length is None else min(content_length, limit))

    def reader(self, visit: Visit) -> BodyReader:
        """What reads this request's body."""
        return BodyReader(self.decoders, Turn(visit.came + self.timeout, visit.client), visit.hold)

    def classify(self, visit: Visit, uploads: list[bytes], *, top: int, log_fields: Mapping[str, Any]) -> list[Answer]:
        """One answer for each upload, in order; one bad image spoils none of the others.

        uploads: image files; taken out of the list one by one, so that none is held while the request waits.
        top: how many predictions are wanted. log_fields: what names the request in the log. Returns when all are
        answered or their deadline has passed.
        """
        # With a cache, others may be waiting for the same image, and a client that hangs up ends nothing.
        client = visit.client if self._cache is None else None
        turn = Turn(visit.came + self.timeout, client)
        with ExitStack() as registered:
            waits = []
            uploads.reverse()
            while uploads:
                answer = Answer(id="", owner=visit.owner)
                waits.append(self._send_unless_known(uploads.pop(), top, log_fields, turn, registered, answer))
            # A follower's upload is still needed, and counts.
            visit.on_decoded() if any(isinstance(t, Follower) for _, t in waits) else visit.decoded()
            tickets = [t for answer, t in waits if isinstance(t, Ticket) and answer.error is None]
            registered.enter_context(self._hang_ups.watching(client, tickets))
            # First what others may be waiting for, so that no two requests ever wait for each other.
            for answer, ticket in sorted(waits, key=lambda wait: isinstance(wait[1], Follower)):
                while isinstance(ticket, Follower) and ticket.entry.is_given_up(turn.until):
                    _, ticket = self._send_unless_known(ticket.upload, top, log_fields, turn, registered, answer)
                self._wait(answer, ticket, turn.until, visit)
            return [answer for answer, _ in waits]

    def submit(self, visit: Visit, uploads: list[bytes], *, top: int, log_fields: Mapping[str, Any]) -> list[Answer]:
        """Enqueue each upload, as `classify` does, and wait for none: an answer has an id, or an error.

        Nobody is told of the results, so each is kept for result_ttl.
        """
        answers, turn = [], Turn(visit.came + self.timeout, visit.client)
        uploads.reverse()
        while uploads:
            answer = Answer(id="", owner=visit.owner)
            answers.append(self._send(uploads.pop(), top, log_fields, turn, None, answer)[0])
        visit.decoded()
        return [self._close(answer, visit) for answer in answers]

    def _send_unless_known(
        self,
        upload: bytes,
        top: int,
        log_fields: Mapping[str, Any],
        turn: Turn,
        registered: ExitStack,
        answer: Answer,
    ) -> tuple[Answer, Ticket | Follower | None]:
        """As `_send`; but an image whose answer is known, or on its way, is only waited for."""
        if self._cache is None:
            return self._send(upload, top, log_fields, turn, registered, answer)
        entry, lead = self._cache.enter(upload, top, answer.owner.name)
        answer.lead = lead
        if lead is None:
            return answer, Follower(entry, upload)
        # Should the request end in a way that nobody thought of: others may be waiting.
        registered.callback(lead.settle)
        return self._send(upload, top, log_fields, turn, registered, answer)

    def _send(
        self,
        upload: bytes,
        top: int,
        log_fields: Mapping[str, Any],
        turn: Turn,
        registered: ExitStack | None,
        answer: Answer,
    ) -> tuple[Answer, Ticket | None]:
        """Decode and enqueue one image; the ticket to wait with, or an answer that is an error already.

        turn: how long, and for whom, it waits for a decoder and for Redis.
        registered: where the waiting ends; None if nobody waits.
        """
        ticket = None
        try:
            job = self._decode(upload, top, answer, turn)
            if registered is None:
                self._enqueue(replace(job, reply_to=""), log_fields, answer, self._job_timeout, turn.until)
            else:
                ticket = registered.enter_context(self._waiter.expecting(job.id))
                self._enqueue(job, log_fields, answer, self.timeout, turn.until)
                ticket.is_enqueued = True
        except ImageQueueError as error:
            if isinstance(error, (QueueFull, NoWorkers)):
                self.door.remember(error)
            elif is_in_doubt(error):
                # Accepted perhaps, and the answer lost; the client hears of a refusal, so nobody is to compute it.
                self._waiter.give_up(answer.id)
            answer.error = without_frames(error)
        return answer, ticket

    def _decode(self, upload: bytes, top: int, answer: Answer, turn: Turn) -> Job:
        started = time.perf_counter()
        pixels = self.decoders.decode(upload, turn)
        answer.decode_ms = (time.perf_counter() - started) * 1000
        job = Job(pixels=pixels, reply_to=self.web_id, top=top, id=answer.owner.new_id())
        answer.id = job.id
        return job

    def _enqueue(self, job: Job, log_fields: Mapping[str, Any], answer: Answer, timeout: float, until: float) -> None:
        started, backlog = time.perf_counter(), None
        while backlog is None:
            try:
                backlog = self._queue.enqueue(job, timeout=timeout, **self._limits)
            except NoConnection:
                # Hundreds of threads of a starved machine want one. If Redis is away, asking for the queue says so.
                if not self.queue or time.monotonic() > until:
                    raise
        self._waiter.redis_answered()
        self.door.accepted(backlog)
        answer.enqueued_at = time.perf_counter()
        answer.enqueue_ms = (answer.enqueued_at - started) * 1000
        log("enqueued", job=job.id, **log_fields, depth=backlog.depth)

    def _wait(self, answer: Answer, ticket: Ticket | Follower | None, until: float, visit: Visit) -> Answer:
        if answer.error is None and ticket is not None:
            try:
                if isinstance(ticket, Follower):
                    answer.result, answer.came_by = ticket.entry.wait(until), "cache"
                    answer.id = answer.result.id
                else:
                    answer.result = self._waiter.wait(ticket, until)
                    answer.came_by, answer.woken_at = ticket.came_by, ticket.woken_at
                answer.error = answer.result.error
            except ImageQueueError as error:
                answer.error = without_frames(error)
        return self._close(answer, visit)

    def _close(self, answer: Answer, visit: Visit) -> Answer:
        answer.close(visit.entered)
        if answer.lead is not None:
            answer.lead.settle(answer.result, answer.error)
        for listener in self.on_answer:
            listener(answer)
        return answer
