"""The log of all servers in one place: a capped stream in the Redis that they share anyway.

A line costs its writer an append to a list in memory; a thread sends what has gathered, many lines in one round trip.
While Redis is away the lines wait, as many as there is room for; then the oldest go, and how many is said as soon as
it can be. Nothing here ever holds up whoever logs.

The log must never be what fills a Redis, whose memory is for the jobs: the stream is bounded in lines and in bytes, and
a Redis that is nearly full gets no lines at all (see logroom).
"""

from __future__ import annotations

# Not used here: `socket` imports it with its first address, see LogStream.
import encodings.idna  # noqa: F401
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import redis

from imagequeue.connections import connect, redis_errors
from imagequeue.errors import ImageQueueError
from imagequeue.events import warn
from imagequeue.logroom import LogRoom

# Some 15 MB of Redis's memory, if they are as long as most lines are; see logroom for those that are not.
MAX_LINES = 50_000
# In memory, while Redis is away.
MAX_WAITING = 10_000
MAX_WAITING_BYTES = 4 * 2**20
BATCH = 500
BATCH_BYTES = 256 * 1024
PAUSE_SECONDS = 0.2
LONGEST_PAUSE = 5.0
# Hosts' clocks drift; how far from Redis's is looked up anew this often.
CLOCK_SECONDS = 60.0
CLOSE_SECONDS = 2.0


def key_of(queue_name: str) -> str:
    return f"{{{queue_name}}}:log"


class LogStream(logging.Handler):
    """A handler for `logging`; its formatter makes each record one JSON object.

    Safe across forks: the child starts with nothing to send and a connection of its own.
    """

    def __init__(
        self,
        redis_url: str,
        queue_name: str,
        *,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """max_waiting, max_waiting_bytes: of lines that are not sent yet; the oldest give way."""
        super().__init__()
        # To have imported all that redis-py imports as it goes: a fork in the middle of that, in the sending thread,
        # would leave the child with half a module for ever.
        connect(redis_url, name="log").close()
        self._redis_url = redis_url
        self._key = key_of(queue_name)
        self._waiting: deque[tuple[float, str]] = deque()
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        # Characters, which in this JSON are bytes: ever put into the list, and ever taken out. Each has one writer, the
        # thread that logs (under the handler's lock) and the one that sends, so that neither waits for the other.
        self._put = 0
        self._taken = 0
        self._dropped = 0
        self._is_away = False
        self._pid = 0

    def emit(self, record: logging.LogRecord) -> None:
        # `logging` calls this under the handler's lock, which it makes anew in a forked child.
        if self._pid != os.getpid():
            self._start()
        line = self.format(record)
        self._waiting.append((record.created, line))
        self._put += len(line)
        while len(self._waiting) > self._max_waiting or self._put - self._taken > self._max_waiting_bytes:
            try:
                _, oldest = self._waiting.popleft()
            except IndexError:
                # The other thread has taken the last one, and has not counted it yet.
                break
            self._put -= len(oldest)
            self._dropped += 1

    def close(self) -> None:
        """Send what waits, for as long as that takes two seconds at most. `logging` calls it at the process's end."""
        if self._pid == os.getpid():
            self._closing.set()
            self._thread.join(timeout=CLOSE_SECONDS)
        super().close()

    def _start(self) -> None:
        self._pid = os.getpid()
        # What a parent had waiting, the parent sends.
        self._waiting.clear()
        self._put = self._taken = self._dropped = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_forever, name="log-stream", daemon=True)
        self._thread.start()

    # The sending thread.

    def _send_forever(self) -> None:
        # No repeats: they would be seen as the same line twice.
        client = connect(self._redis_url, name=f"log:{os.getpid()}", repeats=0)
        room = LogRoom(client, self._key)
        in_hand: list[tuple[float, str]] = []
        pause, asked, ahead = PAUSE_SECONDS, -CLOCK_SECONDS, 0.0
        while not self._closing.wait(pause) or self._waiting or in_hand:
            try:
                with redis_errors():
                    if time.monotonic() - asked > CLOCK_SECONDS:
                        ahead, asked = seconds_ahead(client), time.monotonic()
                    while in_hand or self._waiting:
                        room.make(self._take(in_hand))
                        self._send(client, in_hand, ahead)
                        in_hand.clear()
                pause = PAUSE_SECONDS
                self._say_dropped()
            except Exception as error:
                # A thread that ends would leave the lines to be dropped for ever.
                if self._closing.is_set():
                    return
                self._say_away(error)
                pause = min(LONGEST_PAUSE, pause * 2)

    def _take(self, in_hand: list[tuple[float, str]]) -> int:
        """Fill it up with what waits; returns how many bytes it has then."""
        size = sum(len(line) for _, line in in_hand)
        while self._waiting and len(in_hand) < BATCH and size < BATCH_BYTES:
            # The handler's thread may take the oldest away, so one at a time.
            try:
                in_hand.append(self._waiting.popleft())
            except IndexError:
                break
            length = len(in_hand[-1][1])
            self._taken += length
            size += length
        return size

    def _send(self, client: redis.Redis, lines: list[tuple[float, str]], ahead: float) -> None:
        pipeline = client.pipeline(transaction=False)
        for created, line in lines:
            fields: Any = {"at": int((created + ahead) * 1000), "line": line}
            pipeline.xadd(self._key, fields, maxlen=MAX_LINES, approximate=True)
        pipeline.execute()

    def _say_dropped(self) -> None:
        self._is_away = False
        dropped, self._dropped = self._dropped, 0
        # At the process's end `logging` holds the lock that a line of our own would need.
        if dropped and not self._closing.is_set():
            warn("log_dropped", lines=dropped)

    def _say_away(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            warn("log_stream_away", reason=error.message if isinstance(error, ImageQueueError) else repr(error))


@dataclass(frozen=True)
class Line:
    """One line of any server's log. at: the instant of its event by Redis's clock, ms; content: its JSON object."""

    at: int
    content: dict[str, Any]


class LogReader:
    """The stream, for people. Every method raises RedisDown."""

    def __init__(self, redis_url: str, queue_name: str) -> None:
        self._client = connect(redis_url, name=f"log-reader:{os.getpid()}")
        self._key = key_of(queue_name)
        self._last = b"0-0"

    def now_ms(self) -> int:
        """By Redis's clock."""
        with redis_errors():
            seconds, microseconds = self._client.time()
        return seconds * 1000 + microseconds // 1000

    def kept(self, since_ms: int = 0) -> Iterator[Line]:
        """Every line that came to Redis since then, in the order of their coming."""
        # A line is sent soon after its event; a server that was cut off sends late, and its lines come late.
        start = f"({self._last.decode()}" if self._last != b"0-0" else str(since_ms)
        while True:
            with redis_errors():
                entries = cast("list[Any]", self._client.xrange(self._key, start, "+", count=1000))
            if not entries:
                return
            yield from self._lines(entries)
            start = f"({self._last.decode()}"

    def follow(self) -> Iterator[Line]:
        """The lines that come from now on, or from the last that was read; an empty second yields none, and goes on."""
        if self._last == b"0-0":
            self._last = f"{self.now_ms()}-0".encode()
        while True:
            with redis_errors():
                answer = cast("list[Any]", self._client.xread({self._key: self._last}, count=1000, block=1000))
            for _, entries in answer or ():
                yield from self._lines(entries)

    def _lines(self, entries: list[Any]) -> Iterator[Line]:
        for entry_id, fields in entries:
            self._last = entry_id
            try:
                content = json.loads(fields[b"line"])
                yield Line(int(fields[b"at"]), dict(content))
            except (KeyError, ValueError, TypeError, RecursionError):
                # Somebody else's entry.
                continue


def seconds_ahead(client: redis.Redis) -> float:
    """How far Redis's clock is ahead of this host's, give or take half the time that asking took."""
    asked = time.time()
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6 - (asked + time.time()) / 2
