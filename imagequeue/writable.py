"""Whether Redis takes writes: at its memory limit, or unable to save, it still answers what only reads."""

from __future__ import annotations

import threading
import time

from imagequeue.connections import redis_errors
from imagequeue.errors import NoConnection, RedisDown, RedisSilent
from imagequeue.jobqueue import JobQueue

# A probe is sent no more often, however many ask.
SECONDS = 1.0


class WriteProbe:
    """Of one process; thread-safe. What it found is remembered for SECONDS."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._probed = float("-inf")
        self._refusal = ""

    def refusal(self) -> str:
        """Empty where a write is taken now; else that it is Redis, and what it says: `redis: … memory limit.`"""
        with self._lock:
            if time.monotonic() - self._probed >= SECONDS:
                self._refusal = self._probe()
                self._probed = time.monotonic()
            return self._refusal

    def _probe(self) -> str:
        try:
            with redis_errors():
                # Redis judges it as any write that needs memory, and then writes nothing, as nothing is given.
                self._queue.client.setrange(self._queue.key("probe"), 0, "")
        except (RedisSilent, NoConnection):
            return "redis"
        except RedisDown as error:
            return f"redis: {error.message}"
        return ""
