"""How many images one client may send: counted in Redis, so that it holds over all web servers together.

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
    """What is left of a client's share: whether these images are within it, images left, seconds until more.

    Where they are not, seconds until as many are.
    """

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
    """So many images in so long, for each client apart. Safe in threads and, before its first use, over forks."""

    def __init__(self, rate: str, *, redis_url: str, queue_name: str) -> None:
        """rate: as `100/minute`. Opens at most CONNECTIONS connections, and none yet."""
        self._rate = parse(rate)
        self.most = self._rate.amount
        self.seconds = self._rate.get_expiry()
        client = connect(redis_url, name="web:limits", size=CONNECTIONS, answer_seconds=ANSWER_SECONDS, repeats=0)
        storage = RedisStorage(
            # The address is not used: the pool has it, with every option pinned.
            "redis://",
            connection_pool=client.connection_pool,
            key_prefix=f"{queue_name}:limits",
            wrap_exceptions=True,
        )
        self._storage = storage
        self._window = SlidingWindowCounterRateLimiter(storage)
        self._paused_until = 0.0

    def count(self, client: str, images: int = 1, *, again: int = 0) -> Allowance | None:
        """Count images of `client`, all or none of them; None while there is no Redis to count in.

        images: `most` at most. again: how many will be sent if these are refused, where that is another number.
        """
        if time.monotonic() < self._paused_until:
            return None
        try:
            is_allowed = self._window.hit(self._rate, client, cost=images)
            stats = self._window.get_window_stats(self._rate, client)
            seconds = stats.reset_time - time.time() if is_allowed else self._seconds_until(client, again or images)
        except StorageError as error:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            warn("rate_not_limited", reason=type(error.storage_error).__name__)
            return None
        return Allowance(is_allowed, self.most, self.seconds, max(0, stats.remaining), max(1, math.ceil(seconds)))

    def _seconds_until(self, client: str, images: int) -> float:
        """When so many more will be within the limit, if nothing else is counted meanwhile."""
        before, before_left, now, now_left = self._storage.get_sliding_window(self._rate.key_for(client), self.seconds)
        # They are, while what counts is less than this.
        bound = self.most - images + 1
        # The window before counts less and less, until the present one ends and takes its place; each is kept for two.
        if now < bound:
            return before_left - (bound - now) * self.seconds / max(1, before)
        return now_left - self.seconds + (now - bound) * self.seconds / now
