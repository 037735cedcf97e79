"""How much of a Redis the log may take: little, and nothing where memory is short.

Redis gives a stream no limit in bytes. So whoever sends lines measures it now and then and cuts it; several servers
that do so at the same time do no harm.
"""

from __future__ import annotations

import time

import redis

from imagequeue.errors import RedisDown

# Some 15 MB are usual, see logstream.MAX_LINES.
MAX_BYTES = 32 * 2**20
# Of the memory that Redis may use, where it has a limit: the stream's share, and what may be in use at all when a line
# is written. The rest is for jobs.
SHARE = 1 / 8
FULL = 0.8
# Measured so often while lines are sent, or after so many bytes.
MEASURE_SECONDS = 1.0
MEASURE_BYTES = 2**20


class LogRoom:
    """The room for one stream, as one sender sees it. Every method raises redis.RedisError."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._measured = float("-inf")
        self._sent = 0

    def make(self, size: int) -> None:
        """Before `size` bytes are sent: see to it that there is room. Raises RedisDown where memory is short."""
        self._sent += size
        if time.monotonic() - self._measured < MEASURE_SECONDS and self._sent < MEASURE_BYTES:
            return
        memory = self._client.info("memory")
        limit = int(memory.get("maxmemory") or 0)
        self._trim(int(min(MAX_BYTES, limit * SHARE)) if limit else MAX_BYTES)
        if limit and memory["used_memory"] > FULL * limit:
            # Measured again before the next line.
            self._measured = float("-inf")
            raise RedisDown(f"Redis uses {memory['used_memory']} of its {limit} bytes; the rest is for jobs.")
        self._measured, self._sent = time.monotonic(), 0

    def _trim(self, most: int) -> None:
        """Cut the oldest lines off a stream that takes more than `most` bytes."""
        pipeline = self._client.pipeline(transaction=False)
        # Of every node: a sample would be of the oldest ones, and those may be full of shorter lines.
        pipeline.memory_usage(self._key, samples=0)
        pipeline.xlen(self._key)
        used, lines = pipeline.execute()
        if used is not None and used > most:
            # A little more, so that not every measurement cuts.
            self._client.xtrim(self._key, maxlen=int(lines * most / used * 0.9), approximate=False)
