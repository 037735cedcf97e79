"""Answers that their clients have not taken yet: their bytes are held by the process, and counted, not by a thread."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import IO, Any
from weakref import WeakValueDictionary

# Of all connections of a process together. Static files do not count: however many ask for one, it is held once.
MAX_UNSENT_BYTES = 64 * 2**20


class HeldFile:
    """A file's bytes, for as long as anybody has not taken all of them."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class UnsentAnswers:
    """The account of one process. In any thread."""

    def __init__(self, max_bytes: int = MAX_UNSENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._lock = threading.Lock()
        self._files: WeakValueDictionary[tuple[int, ...], HeldFile] = WeakValueDictionary()

    @property
    def is_full(self) -> bool:
        return self.bytes >= self._max_bytes

    @property
    def is_half_full(self) -> bool:
        return 2 * self.bytes >= self._max_bytes

    def add(self, count: int) -> None:
        with self._lock:
            self.bytes += count

    def file(self, opened: IO[Any]) -> HeldFile:
        """The whole file, shared with everybody who has not taken it yet."""
        descriptor = opened.fileno()
        facts = os.fstat(descriptor)
        key = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size)
        # The lock is not held: two that come first at the same time read it twice, and one of the two is kept.
        held = self._files.get(key)
        if held is None:
            held = self._files.setdefault(key, HeldFile(os.pread(descriptor, facts.st_size, 0)))
        return held


class Outbox:
    """What one connection has not taken yet, in pieces; in the hands of one thread at a time."""

    def __init__(self, account: UnsentAnswers) -> None:
        self._account = account
        # What is left of each, its bytes in the account, and what keeps them in memory.
        self._pieces: deque[tuple[memoryview, int, object]] = deque()
        self.counted = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def put(self, rest: memoryview, *, counted: int, owner: object = None) -> None:
        """counted: the bytes that are held for this connection alone, sent ones of the same piece too."""
        self._pieces.append((rest, counted, owner))
        self._count(counted)

    @property
    def first(self) -> memoryview:
        return self._pieces[0][0]

    def sent(self, count: int) -> None:
        """So many bytes of the first piece have gone."""
        rest, counted, owner = self._pieces.popleft()
        if count < len(rest):
            self._pieces.appendleft((rest[count:], counted, owner))
        else:
            self._count(-counted)

    def clear(self) -> None:
        self._pieces.clear()
        self._count(-self.counted)

    def _count(self, change: int) -> None:
        self.counted += change
        self._account.add(change)
