"""The accounts of a soak: what became of each request, and which promise was broken."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import redis

from imagequeue.job import id_of
from imagequeue.jobqueue import JobQueue


class Tally:
    """Filled by many threads; read when they have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.answered_at: dict[str, float] = {}
        self.answered_again: list[str] = []
        # When the worker that held a job died, for the last time.
        self._held_at: dict[str, float] = {}

    def count(self, outcome: str) -> None:
        with self._lock:
            self.counts[outcome] += 1

    def refuse(self, code: str) -> None:
        with self._lock:
            self.refused[code] += 1

    def answer(self, job_id: str) -> None:
        """A right answer came to a client."""
        with self._lock:
            self.counts["answered"] += 1
            if job_id in self.answered_at:
                self.answered_again.append(job_id)
            self.answered_at[job_id] = time.monotonic()

    def mistake(self, what: str) -> None:
        with self._lock:
            self.counts["wrong"] += 1
            self.wrong.append(what)

    def worker_died(self, at: float, held: list[str]) -> None:
        with self._lock:
            self._held_at.update(dict.fromkeys(held, at))

    def recoveries(self) -> list[float]:
        """Seconds from a worker's death to the answer, for each job that it held and that was answered."""
        return sorted(
            self.answered_at[job_id] - at
            for job_id, at in self._held_at.items()
            if at < self.answered_at.get(job_id, 0)
        )

    @property
    def accepted(self) -> int:
        return sum(self.counts[kind] for kind in ("answered", "convicted", "lost", "wrong"))


class Publications:
    """Hears every result that is published; an id that is heard twice was answered twice."""

    def __init__(self, connect: Callable[[], redis.Redis], queue_name: str) -> None:
        self.heard: Counter[str] = Counter()
        self._connect = connect
        self._pattern = f"{{{queue_name}}}:results:*"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as client, client.pubsub() as subscription:
                    subscription.psubscribe(self._pattern)
                    while not self._stopping.is_set():
                        message = subscription.get_message(timeout=0.5)
                        if message and message["type"] == "pmessage":
                            self.heard[id_of(message["data"])] += 1
            except redis.RedisError:
                # The soak restarts it; what is published until then goes to nobody here, and is not needed.
                self._stopping.wait(0.1)

    def stop(self) -> list[str]:
        """The ids that were heard more than once."""
        self._stopping.set()
        self._thread.join(timeout=10)
        return [job_id for job_id, times in self.heard.items() if times > 1]


def left_behind(queue: JobQueue, refused_in_doubt: int = 0) -> dict[str, int]:
    """Jobs that still lie in some list, and jobs that the counters do not account for; all 0 at the end.

    refused_in_doubt: how many clients were refused while Redis died. Such a job may have been accepted unheard: its web
    server has given it up then, which no counter tells, and the client has sent the image again.
    """
    client = queue.client
    held: Any = client.keys(queue.key("processing:*"))
    stats = queue.stats()
    ended = sum(stats.get(counter, 0) for counter in ("completed", "failed", "convicted", "expired"))
    return {
        "waiting": queue.depth(),
        "suspects": int(client.llen(queue.key("suspect"))),
        "held": sum(int(client.llen(key)) for key in held),
        "unaccounted": max(0, int(stats.get("enqueued", 0) - ended) - refused_in_doubt),
    }


def broken_promises(report: dict[str, Any]) -> list[str]:
    """What the report of a soak shows that must not be; empty when all is well."""
    broken = [f"{report[kind]} {kind}" for kind in ("lost", "answered_twice", "wrong") if report[kind]]
    broken += [f"{count} {kind} at the end" for kind, count in report["left"].items() if count]
    recovery = report["recovery"]
    if recovery["max"] > recovery["limit"]:
        broken.append(f"a killed batch took {recovery['max']:.1f} s, the limit is {recovery['limit']:.1f} s")
    if report["exits"].keys() - {"0", "-9", "-15"}:
        broken.append(f"workers ended with {report['exits']}")
    if report["web_deaths"]:
        broken.append(f"{report['web_deaths']} web servers died")
    return broken
