"""The others: somebody who asks /livez 20 times a second and somebody who sends images, each in a process of their own.

Each question has a connection of its own and leaves when it is due, whether or not those before it have been answered,
so that a second without an answer counts as twenty bad answers and not as one.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection

from bench.attacks.figures import Sample
from bench.attacks.wire import Address, ask

# Of one that has ended; what has not been answered by then never will be.
GRACE_SECONDS = 0.5


class Watcher:
    """Sends `request` `rate` times a second until it is ended; `samples` grows while it does."""

    def __init__(self, address: Address, request: bytes, *, source: str, rate: float, timeout: float) -> None:
        """timeout: seconds after which an answer is none."""
        self.samples: list[Sample] = []
        # Not forked: this process has threads.
        context = multiprocessing.get_context("spawn")
        self._control, there = context.Pipe()
        self._process = context.Process(
            target=watch, args=(there, address, request, source, rate, timeout), daemon=True
        )
        self._process.start()
        there.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_first(self, seconds: float = 20.0) -> None:
        """Raises TimeoutError if nothing is answered in that time."""
        end = time.monotonic() + seconds
        while not self.samples:
            if time.monotonic() > end:
                raise TimeoutError("the watchers see no answer from a service that nobody attacks")
            time.sleep(0.02)

    def tell_to_end(self) -> None:
        with contextlib.suppress(OSError):
            self._control.send("end")

    def end(self) -> None:
        self.tell_to_end()
        self._reader.join(timeout=GRACE_SECONDS + 5.0)
        self._process.kill()
        self._process.join()

    def _read(self) -> None:
        try:
            while (sample := self._control.recv()) is not None:
                self.samples.append(sample)
        except (EOFError, OSError):
            pass


def watch(control: Connection, address: Address, request: bytes, source: str, rate: float, timeout: float) -> None:
    """The process of a Watcher."""
    lock = threading.Lock()
    pending: dict[int, float] = {}

    def one(number: int, at: float) -> None:
        reply = ask(address, request, source=source, timeout=timeout)
        with lock:
            if pending.pop(number, None) is not None:
                control.send(Sample(at, reply.seconds if reply.status else math.inf, reply.outcome))

    started, number = time.monotonic(), 0
    while not control.poll(max(0.0, started + number / rate - time.monotonic())):
        now = time.monotonic()
        with lock:
            pending[number] = now
        threading.Thread(target=one, args=(number, now), daemon=True).start()
        number += 1
    time.sleep(GRACE_SECONDS)
    with lock:
        for at in pending.values():
            control.send(Sample(at, math.inf, "unanswered"))
        pending.clear()
        control.send(None)
