"""How much one client may ask for: counted in Redis, so that it holds over all web servers together.

A sliding window of two counters for each client, by the package `limits`; both keys have a time to live, and Redis's
clock alone moves the window. The count fails open: a Redis that is away refuses the job itself a moment later, and a
request must not wait for it twice.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from imagequeue.connections import connect
from imagequeue.events import warn

# A count takes a millisecond; a Redis that takes longer than this is not waited for.
ANSWER_SECONDS = 0.5
CONNECTIONS = 2
# After a failure nothing is counted for so long: hundreds of waiting threads must not try one after the other.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Allowance:
    """What is left of a client's share: whether this request is within it, requests left, seconds until more."""

    is_allowed: bool
    limit: int
    window: int
    left: int
    seconds: int

    def headers(self) -> dict[str, str]:
        """The RateLimit fields of draft-ietf-httpapi-ratelimit-headers-06, the ones that are in use."""
        return {
            "RateLimit-Policy": f"{self.limit};w={self.window}",
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.left),
            "RateLimit-Reset": str(self.seconds),
        }


class RateLimit:
    """So many requests in so long, for each client apart. Safe in threads and, before its first use, over forks."""

    def __init__(self, rate: str, *, redis_url: str, queue_name: str) -> None:
        """rate: as `100/minute`. Opens at most CONNECTIONS connections, and none yet."""
        self._rate = parse(rate)
        client = connect(redis_url, name="web:limits", size=CONNECTIONS, answer_seconds=ANSWER_SECONDS, repeats=0)
        storage = RedisStorage(
            # The address is not used: the pool has it, with every option pinned.
            "redis://",
            connection_pool=client.connection_pool,
            key_prefix=f"{queue_name}:limits",
            wrap_exceptions=True,
        )
        self._window = SlidingWindowCounterRateLimiter(storage)
        self._paused_until = 0.0

    def count(self, client: str) -> Allowance | None:
        """Count one request of `client`; None while there is no Redis to count in."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            is_allowed = self._window.hit(self._rate, client)
            stats = self._window.get_window_stats(self._rate, client)
        except StorageError as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            warn("rate_not_limited", reason=type(error.storage_error).__name__)
            return None
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        return Allowance(is_allowed, self._rate.amount, self._rate.get_expiry(), max(0, stats.remaining), seconds)
