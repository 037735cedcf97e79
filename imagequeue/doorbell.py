"""The doorbell: waiting for work without asking for it, by BLMOVE on a connection of its own.

Its answer may be lost on the wire with the document already moved, so the answer is not used: what counts is what
claim finds in the processing list.
"""

from __future__ import annotations

import time
from typing import cast

import redis

from imagequeue.connections import is_memory_limit, redis_errors
from imagequeue.errors import RedisDown
from imagequeue.jobqueue import JobQueue


class Doorbell:
    """One worker's bell, on one connection."""

    def __init__(self, client: redis.Redis, queue: JobQueue, *, seconds: float = 1.0) -> None:
        """client: one connection that waits for an answer longer than `seconds`, and repeats nothing."""
        self._client = client
        self._queue = queue
        self._seconds = seconds
        # A BLMOVE whose connection broke on this side alone lives on in Redis, first in line, and may ring unheard.
        self._doubtful_until = 0.0

    def wait(self, worker_id: str) -> bool:
        """Until a document lies in the worker's processing list, or `seconds` have passed; raises RedisDown."""
        started, processing = time.monotonic(), self._queue.key(f"processing:{worker_id}")
        try:
            with redis_errors():
                # The server takes fractions of a second; redis-py's annotation says otherwise.
                seconds = cast(int, self._seconds)
                moved = self._client.blmove(self._queue.name, processing, seconds, "LEFT", "RIGHT")
            return moved is not None or started < self._doubtful_until
        except RedisDown as error:
            # BLMOVE counts as taking memory, so at its limit Redis refuses it; claim still drains the queue.
            # The wait is kept, or the loop would spin.
            if not is_memory_limit(error.__cause__):
                self._doubtful_until = time.monotonic() + self._seconds
                raise
            time.sleep(max(0.0, self._seconds / 10 - (time.monotonic() - started)))
            return True
