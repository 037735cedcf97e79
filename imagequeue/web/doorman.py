"""Who comes in next, who waits on the doorstep, who is turned away: asked by the event loop, which a head costs little.

A request that is let in costs a thread and milliseconds before it hears of a full queue, and a hundred of them at once
a hundred times as long, each in the way of the others. So only a few are on their way from their head to their job at
the same time: more would be no faster. The others wait here, in the order in which they came, and

- while a refusal stands that any of them would hear (see admission), all hear it at once;
- those who wait here count as waiting: beyond MAX_QUEUE_LENGTH, with what waits in Redis and at this server's other
  processes, the last ones hear at once that the queue is full;
- after a refusal one goes in first, to find out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gunicorn.workers.gthread import TConn

from imagequeue.errors import RedisDown, ServerBusy, Unavailable
from imagequeue.web.classifier import Classifier
from imagequeue.web.rebuff import Rebuff, Rebuffs
from imagequeue.web.unsent import UnsentAnswers

# Measured in docs/internals.md, on two processors; with more of them as many as can decode. Where many may wait, few of
# a crowd will be refused, and one of so many more may be on its way: to be let in one by one costs some throughput.
ENTERING = 4
WAITING_FOR_ONE_MORE = 32
MOST_CROWD = 1024
# Whoever takes longer from his head to his job keeps nobody else from it: a hundred large images, a slow upload.
PLACE_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class Arrival:
    """A request that would classify: its connection, what has come of it, and when (of time.monotonic)."""

    conn: TConn
    received: bytes
    came: float


class Doorman:
    """The one of a process. In the event loop, but for `settled`."""

    def __init__(self, classifier: Classifier, rebuffs: Rebuffs, publish: Callable[[int], int]) -> None:
        """publish: tells the server's processes how many wait here, and returns how many wait at all of them."""
        self._classifier = classifier
        self.rebuffs = rebuffs
        self._publish = publish
        self._waiting: deque[Arrival] = deque()
        # Since when (of time.monotonic).
        self._entering: dict[Arrival, float] = {}
        crowd = min(classifier.door.max_waiting, MOST_CROWD)
        self._places = max(ENTERING, classifier.decoders.size, crowd // WAITING_FOR_ONE_MORE)
        # How many have come so far.
        self.arrivals = 0

    @property
    def is_anybody_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def unsent(self) -> UnsentAnswers:
        return self._classifier.door.unsent

    def arrive(self, conn: TConn, received: bytes) -> None:
        self._waiting.append(Arrival(conn, received, time.monotonic()))
        self.arrivals += 1

    def next(self) -> Iterator[tuple[Arrival, Unavailable | None, Rebuff | None]]:
        """Everyone who need not wait any longer: with a rebuff, or, without, to be given a thread.

        Whoever is refused and has no rebuff is refused by the application. Whoever is given a thread has `settled`
        called as soon as he only waits, or is done.
        """
        try:
            while self._waiting:
                if refusal := self._refusal() or self._impatience():
                    arrival = self._waiting.popleft()
                elif refusal := self._classifier.door.refusal_behind(self._publish(len(self._waiting))):
                    arrival = self._waiting.pop()
                elif self._taken() < (1 if self._classifier.door.is_doubtful else self._places):
                    arrival = self._waiting.popleft()
                else:
                    return
                rebuff = self.rebuffs.rebuff(arrival.received, refusal, arrival.came) if refusal else None
                if rebuff is None:
                    self._entering[arrival] = time.monotonic()
                yield arrival, refusal, rebuff
        finally:
            self._publish(len(self._waiting))

    def settled(self, arrival: Arrival) -> bool:
        """One fewer is on his way in; whether somebody waits for that. In any thread."""
        self._entering.pop(arrival, None)
        # The loop adds to those who wait before it looks how many are on their way: one of the two sees the other.
        return bool(self._waiting)

    def _taken(self) -> int:
        begun, entering = time.monotonic() - PLACE_SECONDS, list(self._entering.values())
        # Where as many as there are places take longer, it is the machine that is slow, and more would make it slower.
        return max(sum(since > begun for since in entering), len(entering) - self._places)

    def _impatience(self) -> Unavailable | None:
        """What the oldest hears if his time is over before he has come in."""
        if time.monotonic() - self._waiting[0].came < self._classifier.timeout:
            return None
        return ServerBusy("The server did not come to this request in its time.")

    def _refusal(self) -> Unavailable | None:
        try:
            _ = self._classifier.queue
        except RedisDown as error:
            return error
        return self._classifier.door.standing_refusal()
