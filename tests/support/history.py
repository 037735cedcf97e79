"""What clients were told, what the processes say they did, what is left in Redis: do the three agree?

Every fault case ends with `History.check`. It holds for any schedule and any fault, and knows nothing of either.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis

from imagequeue.client import Answer
from imagequeue.errors import ImageQueueError
from imagequeue.job import id_of
from tests.support.load import null_label, send_all
from tests.support.redisserver import RedisServer
from tests.support.system import System, eventually

# Bounded without a time to live: a worker's entry leaves with it, `dead` is capped, `stats` has a dozen fields.
BOOKKEEPING = {"workers", "gone", "dead", "stats"}
QUEUE = "image_queue"


class Sending:
    """Images under way; `join` waits until each has its answer."""

    def __init__(self, urls: Sequence[str], images: Sequence[bytes], connections: int, top: int | None) -> None:
        self.images = images
        self.outcomes: list[Answer | ImageQueueError | None] = []
        self.answered = 0

        def send() -> None:
            self.outcomes = send_all(urls, images, connections, on_answer=self._count, top=top)

        self._thread = threading.Thread(target=send)
        self._thread.start()

    def _count(self, done: int) -> None:
        self.answered = max(self.answered, done)

    def join(self) -> list[Answer | ImageQueueError | None]:
        self._thread.join()
        return self.outcomes


class History:
    """Of one system, from before its first request. Images must differ from one another."""

    def __init__(self, system: System, server: RedisServer) -> None:
        self._system = system
        self._server = server
        self._sendings: list[Sending] = []
        self._published: dict[str, list[bytes]] = {}
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._observer = threading.Thread(target=self._observe, daemon=True)
        self._observer.start()

    def start(
        self,
        images: Sequence[bytes],
        connections: int = 8,
        *,
        top: int | None = None,
        urls: Sequence[str] | None = None,
    ) -> Sending:
        """Send each image once, in the background, to all web servers or to `urls`."""
        sending = Sending(urls or list(self._system.urls), images, connections, top)
        self._sendings.append(sending)
        return sending

    def send(
        self,
        images: Sequence[bytes],
        connections: int = 8,
        *,
        top: int | None = None,
        urls: Sequence[str] | None = None,
    ) -> list[Answer | ImageQueueError | None]:
        """Send each image once, and wait for the answers."""
        sending = self.start(images, connections, top=top, urls=urls)
        return sending.join()

    def watch(self, server: RedisServer) -> None:
        """After a failover: the Redis whose state counts from now on."""
        self._server = server

    def check(self, *, refusals: Sequence[str] = (), redis_forgot: bool = False) -> None:
        """The invariants. refusals: the codes of errors that the fault allows; each image else has its right label.

        redis_forgot: Redis was restarted without its data, so its own counters prove nothing.
        """
        for sending in self._sendings:
            sending.join()
        told = self._check_clients(set(refusals))
        self._check_logs(told)
        self._check_published(told)
        self._check_redis(redis_forgot)

    def stop(self) -> None:
        self._stopping.set()
        self._observer.join(timeout=10)

    def _check_clients(self, refusals: set[str]) -> dict[str, str]:
        """Each request has one answer, and a label only if it is the right one; returns id → label."""
        told: dict[str, str] = {}
        for sending in self._sendings:
            assert len(sending.outcomes) == len(sending.images)
            for image, outcome in zip(sending.images, sending.outcomes, strict=True):
                assert outcome is not None, "a client was told nothing"
                if isinstance(outcome, Answer):
                    assert outcome.id not in told, f"{outcome.id} was told to two clients"
                    told[outcome.id] = outcome.predictions[0].label
                    assert told[outcome.id] == null_label(image), f"{outcome.id} has the label of another image"
                else:
                    assert outcome.code in refusals, f"{outcome.code}: {outcome.message}"
        return told

    def _check_logs(self, told: dict[str, str]) -> None:
        """Each accepted job is answered once, by the process that accepted it, and was claimed by some worker."""
        answered = Counter(line["job"] for web in self._system.webs for line in web.lines("answered"))
        for web in self._system.webs:
            for line in web.lines("enqueued"):
                assert answered[line["job"]] == 1, (
                    f"{line['job']} was accepted and answered {answered[line['job']]} times"
                )
        assert all(answered[job_id] == 1 for job_id in told)
        claimed = {line["job"] for worker in self._system.workers for line in worker.lines("claimed")}
        assert set(told) <= claimed, "answered and never computed"

    def _check_published(self, told: dict[str, str]) -> None:
        for job_id, envelopes in self._published.items():
            assert len(envelopes) == 1, f"{job_id} was published {len(envelopes)} times: {envelopes}"
            if job_id in told:
                assert f'["{told[job_id]}",'.encode() in envelopes[0], "told and published differ"

    def _check_redis(self, redis_forgot: bool) -> None:
        with self._server.client() as client:
            # A worker that is being reaped may still hold the copy of a job that was answered meanwhile.
            eventually(lambda: not held(client), what=f"{held(client)} are held in Redis")
            for raw in client.keys("*"):
                key = raw.decode()
                assert client.ttl(key) != -1 or key.rpartition(":")[2] in BOOKKEEPING, f"{key} stays for ever"
            stats: Any = client.hgetall(f"{{{QUEUE}}}:stats")
        if not redis_forgot:
            counted = {field.decode(): float(value) for field, value in stats.items()}
            ends = sum(counted.get(end, 0) for end in ("completed", "failed", "expired", "convicted"))
            unclaimed = sum(
                line.get("error") in ("deadline_exceeded", "redis_down", "client_gone")
                for web in self._system.webs
                for line in web.lines("answered")
            )
            assert 0 <= counted.get("enqueued", 0) - ends <= unclaimed, counted

    def _observe(self) -> None:
        """Everything that is ever published, by a listener that is no part of the system."""
        while not self._stopping.is_set():
            with contextlib.suppress(redis.RedisError, OSError), self._server.client() as client:
                subscription = client.pubsub(ignore_subscribe_messages=True)
                subscription.psubscribe(f"{{{QUEUE}}}:results:*")
                while not self._stopping.is_set():
                    message = subscription.get_message(timeout=0.1)
                    if message:
                        self._published.setdefault(id_of(message["data"]), []).append(message["data"])
            self._stopping.wait(0.05)


def held(client: redis.Redis) -> dict[str, int]:
    """The lists of documents that are not empty, `dead` apart, with their lengths."""
    keys = [QUEUE, f"{{{QUEUE}}}:suspect", *(key.decode() for key in client.keys(f"{{{QUEUE}}}:processing:*"))]
    return {key: length for key in keys if (length := client.llen(key))}
