"""The load itself: a few threads, each with a connection of its own, and an account of every request.

Without a rate each thread sends its next request when it has the answer to the last (a closed loop): a server that
stalls is then sent less, and the latencies of the requests that were not sent are missing from the account. With a
rate every request is due at an instant of its own, whatever became of the others (an open loop), and its latency is
counted from that instant. Source: Gil Tene, "How NOT to Measure Latency" (coordinated omission).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

from imagequeue.answers import ServerAway
from imagequeue.errors import ImageQueueError, Unavailable
from imagequeue.events import fail, log
from imagequeue.stress.outcome import ANSWERED, CHANGED, Outcome
from imagequeue.stress.sender import Judge, Sender

SHOW_SECONDS = 0.2


class Load:
    """Images sent in turn. `run` once; `outcomes` grows meanwhile."""

    def __init__(
        self,
        url: str,
        images: Sequence[bytes],
        *,
        connections: int,
        total: int | None = None,
        duration: float | None = None,
        rate: float | None = None,
        api_key: str = "",
    ) -> None:
        """connections: requests at a time, at most. total: requests; duration: seconds in which requests begin;
        whichever ends first ends the load, and one of them is needed. rate: requests a second; with it `total` says
        how many are due.
        """
        if total is None and duration is None:
            raise ValueError("total or duration: without either the load has no end")
        if duration is not None and rate is not None:
            due = math.ceil(duration * rate - 1e-9)
            total, duration = due if total is None else min(due, total), None
        self.outcomes: list[Outcome] = []
        self.sent = 0
        self.total = total
        self.duration = duration
        self.rate = rate
        self.connections = connections if total is None else min(connections, total)
        self._url = url
        self._images = images
        self._api_key = api_key
        self._judge = Judge(len(images))
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._started = 0.0

    def run(self, show: Callable[[Load, float], object] = lambda load, seconds: None) -> float:
        """Send all of them, and wait for every answer; returns the seconds it took.

        show: called five times a second, and at the end, with the load and the seconds so far.
        """
        threads = [threading.Thread(target=self._send_until_done) for _ in range(self.connections)]
        self._started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                show(self, self._now())
                thread.join(timeout=SHOW_SECONDS)
        seconds = self._now()
        show(self, seconds)
        return seconds

    def stop(self) -> None:
        """Send no more; `run` returns when what was sent is answered. Safe in a signal's callback."""
        self._stopping.set()

    def _now(self) -> float:
        return time.perf_counter() - self._started

    def _send_until_done(self) -> None:
        sender = Sender(self._url, self._api_key)
        try:
            while (number := self._next()) is not None:
                outcome = self._send(sender, number)
                with self._lock:
                    self.outcomes.append(outcome)
        finally:
            sender.close()

    def _next(self) -> int | None:
        """The number of a request that is to be sent now."""
        with self._lock:
            number = self.sent
            is_enough = self.total is not None and number >= self.total
            is_late = self.duration is not None and self._now() >= self.duration
            if is_enough or is_late or self._stopping.is_set():
                return None
            self.sent += 1
        if self.rate and self._stopping.wait(max(0.0, number / self.rate - self._now())):
            with self._lock:
                # Nobody has heard of it.
                self.sent -= 1
            return None
        return number

    def _send(self, sender: Sender, number: int) -> Outcome:
        sent = self._now()
        due = number / self.rate if self.rate else sent
        image = number % len(self._images)
        is_refusal = False
        try:
            answer = sender.send(self._images[image])
            kind = CHANGED if self._judge.has_changed(image, answer) else ANSWERED
        except ImageQueueError as error:
            kind, is_refusal = error.code, isinstance(error, Unavailable) and not isinstance(error, ServerAway)
            log("failed", number=number, code=error.code, reason=error.message)
        except Exception as error:
            # A thread that ends on a surprise would lose the account of its other requests too.
            kind = type(error).__name__
            fail("broke", number=number, reason=repr(error))
        seconds = self._now() - due
        if kind in (ANSWERED, CHANGED):
            log(kind, job=answer.id, number=number, ms=round(seconds * 1000, 1))
        return Outcome(kind, due, seconds, sent - due, is_refusal)
