"""Several worker processes, kept alive: a dead one is started again, and what it held is brought back at once.

The supervisor loads no model and holds no job. Its children are told by the kernel when it dies, and drain.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from imagequeue.events import fail, log, warn

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
# A child that has served for so long is healthy; its next death starts with the first pause again.
HEALTHY_SECONDS = 60.0
# Exit codes after which another start can only end the same way.
HOPELESS = (2,)
_PR_SET_PDEATHSIG = 1


@dataclass
class Seat:
    """One place in the fleet, and the process that holds it now."""

    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = 0.0
    start_again_at: float = field(default=0.0)

    def lengthen_pause(self, *, is_healthy: bool) -> None:
        self.pause = FIRST_PAUSE if is_healthy else min(LONGEST_PAUSE, self.pause * 2) or FIRST_PAUSE


class Fleet:
    """`count` processes of one command."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        environment: Mapping[str, str],
        on_death: Callable[[int], object],
    ) -> None:
        """on_death: called with the process id of each child that died without being asked to."""
        self._command = list(command)
        self._environment = dict(environment)
        self._seats = [Seat() for _ in range(count)]
        self._on_death = on_death
        self._stopping = threading.Event()
        self._hopeless = 0

    def stop(self) -> None:
        """Have every child drain, and let `run` return when the last has ended. From any thread."""
        self._stopping.set()

    def run(self) -> int:
        """Until stopped; returns 0, or the exit code that made it hopeless to go on."""
        while not self._stopping.is_set() and not self._hopeless:
            for seat in self._seats:
                self._look_after(seat)
            self._stopping.wait(0.1)
        processes = [seat.process for seat in self._seats if seat.process is not None]
        # Each hears it once: a second signal would end it at once, with its batch in hand.
        for process in processes:
            process.terminate()
        codes = {process.wait() for process in processes}
        # A child that was told before it could listen held nothing.
        return self._hopeless or max(abs(code) for code in codes - {-signal.SIGTERM} | {0})

    def _look_after(self, seat: Seat) -> None:
        now = time.monotonic()
        if seat.process is None:
            if now >= seat.start_again_at:
                self._start(seat, now)
            return
        code = seat.process.poll()
        if code is None or self._stopping.is_set():
            return
        if code in HOPELESS:
            self._hopeless = code
            return
        seat.lengthen_pause(is_healthy=now - seat.started_at > HEALTHY_SECONDS)
        warn("child_died", child=seat.process.pid, exit=code, start_again_in=seat.pause)
        try:
            self._on_death(seat.process.pid)
        except Exception as error:
            # Its lease ends by itself.
            fail("burial_failed", child=seat.process.pid, reason=repr(error))
        seat.process, seat.start_again_at = None, now + seat.pause

    def _start(self, seat: Seat, now: float) -> None:
        try:
            seat.process = subprocess.Popen(
                self._command,
                env=self._environment,
                preexec_fn=_end_with_parent,
                # A terminal's Ctrl-C goes to a whole group, and would be a child's first signal of two.
                start_new_session=True,
            )
        except OSError as error:
            # No memory, no process to be had: as likely as not just when one was killed for memory. The others go on.
            seat.lengthen_pause(is_healthy=False)
            seat.start_again_at = now + seat.pause
            warn("child_not_started", reason=str(error), start_again_in=seat.pause)
            return
        seat.started_at = now
        log("child_started", child=seat.process.pid)


def _end_with_parent() -> None:
    """In the child, before it runs: SIGTERM when the supervisor dies, however it dies (Linux)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError, TypeError):
        return
