"""Equal images computed once: answers by the uploaded bytes, and one computation for all who ask meanwhile.

Each owner has entries of its own: a hit hands out a job's id, and its speed shows that the image was sent before.

Of one web process, and off unless RESULT_CACHE_SECONDS is set: somebody who changes the model wants new answers. A hit
costs a hash of the upload; nothing is decoded and Redis hears nothing of it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from imagequeue.errors import Cancelled, DeadlineExceeded, ImageQueueError
from imagequeue.job import Result

# 500 bytes each, as a rule.
MOST_ENTRIES = 4096
# An owner's name, the digest of an upload, how many predictions are wanted.
Key = tuple[str, bytes, int]
# What of a worker's account is about the answer, not about the way to it.
_LASTING = ("model", "weights")


class Entry:
    """One image's answer, there already or on its way."""

    def __init__(self) -> None:
        self.expires_at = float("inf")
        self._settled = threading.Event()
        self._result: Result | None = None
        self._error: ImageQueueError | None = None

    def settle(self, result: Result | None, error: ImageQueueError | None) -> bool:
        """False if it was settled before: the first answer counts."""
        if self._settled.is_set():
            return False
        self._result, self._error = result, error
        self._settled.set()
        return True

    def is_given_up(self, until: float) -> bool:
        """Wait as `wait` does; True if the one that computes has ended without an answer that counts for others.

        Its deadline was its own, and so was who cancelled it.
        """
        if not self._settled.wait(max(0.0, until - time.monotonic())):
            return False
        return self._result is None and (self._error is None or isinstance(self._error, (Cancelled, DeadlineExceeded)))

    def wait(self, until: float) -> Result:
        """The result, waiting no longer than the instant `until` (of time.monotonic).

        Raises DeadlineExceeded at that instant; the error of the one that computes, if it has none.
        """
        self._settled.wait(max(0.0, until - time.monotonic()))
        if self._result is None:
            raise self._error or DeadlineExceeded("The deadline passed before the image was classified.")
        return replace(self._result, facts={k: v for k, v in self._result.facts.items() if k in _LASTING})


@dataclass(frozen=True)
class Follower:
    """One who waits for what another computes. The upload is kept: if the other gives up, this one computes it."""

    entry: Entry
    upload: bytes


class ResultCache:
    """The entries of one process, the least recently used of too many dropped."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """seconds: how long an answer counts."""
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def enter(self, upload: bytes, top: int, owner: str = "") -> tuple[Entry, Lead | None]:
        """The entry of an upload, and the lead if the caller is the one to compute it. owner: the owner's name."""
        key = (owner, hashlib.blake2b(upload, digest_size=16).digest(), top)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.expires_at > self._clock():
                self._entries.move_to_end(key)
                return entry, None
            entry = self._entries[key] = Entry()
            self._entries.move_to_end(key)
            while len(self._entries) > MOST_ENTRIES:
                self._entries.popitem(last=False)
        return entry, Lead(self, key, entry)

    def settle(self, key: Key, entry: Entry, result: Result | None, error: ImageQueueError | None) -> None:
        with self._lock:
            if not entry.settle(result if error is None else None, error):
                return
            if result is not None and error is None:
                entry.expires_at = self._clock() + self._seconds
            elif self._entries.get(key) is entry:
                # An error is nobody else's business later.
                del self._entries[key]


class Lead:
    """The duty of the one who computes: `settle`, whatever comes."""

    def __init__(self, cache: ResultCache, key: Key, entry: Entry) -> None:
        self._cache = cache
        self._key = key
        self._entry = entry

    def settle(self, result: Result | None = None, error: ImageQueueError | None = None) -> None:
        """Answer all who wait; a result is kept, an error is not. The first call counts."""
        self._cache.settle(self._key, self._entry, result, error)
