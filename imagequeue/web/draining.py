"""How a web server ends: readiness fails first, what was accepted is answered, and nothing is started any more.

A signal as a rule goes to more than the master: a terminal sends it to its foreground group, systemd to each process of
the unit, `make serve` to the group. The master alone acts on it: a child ends once the master has said so in memory
that they share, whatever signals it has got before.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter

from imagequeue.events import log
from imagequeue.web.pace import PacedWorker


class SharedFlag:
    """One bit that a process and its children, forked later, see alike."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._byte[0] = 1

    def is_set(self) -> bool:
        return self._byte[0] == 1


class DrainingWorker(PacedWorker):
    """A child that ends only when its master has asked it to, and then only once its requests are answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Made before the fork.
        self.asked_to_end = SharedFlag()

    def init_signals(self) -> None:
        super().init_signals()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Nobody is left to ask it where its master was killed.
        if self.asked_to_end.is_set() or os.getppid() != self.ppid:
            super().handle_exit(sig, frame)


class DrainingArbiter(Arbiter):  # type: ignore[misc, unused-ignore]
    """Gunicorn's master, which fails readiness for a while before it stops listening.

    So a load balancer that looks at /readyz sends nothing more by the time that nothing more is taken. What was
    accepted is answered. A second signal, or SIGQUIT, skips the wait.
    """

    draining: SharedFlag
    drain_seconds: float
    had_terminal = False

    def init_signals(self) -> None:
        # As nohup leaves it.
        is_hup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().init_signals()
        if is_hup_ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.had_terminal = has_terminal()

    def handle_term(self) -> None:
        if self.draining.is_set() or not self.drain_seconds:
            self.draining.set()
            super().handle_term()
        self.draining.set()
        log("draining", seconds=self.drain_seconds)
        again = threading.Timer(self.drain_seconds, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    # Gunicorn drops what is in flight on SIGINT; Ctrl-C is no reason to leave anybody without an answer.
    handle_int = handle_term

    def handle_hup(self) -> None:
        """New children for the old ones; but where the terminal was closed, the end."""
        if self.had_terminal and not has_terminal():
            self.handle_term()
        elif not self.draining.is_set():
            super().handle_hup()

    def manage_workers(self) -> None:
        # A child that dies now is not replaced: the new one would come up when nobody is to be served any more.
        if not self.draining.is_set():
            super().manage_workers()

    def kill_worker(self, pid: int, sig: int) -> None:
        worker = self.WORKERS.get(pid)
        if worker is not None and sig == signal.SIGTERM:
            worker.asked_to_end.set()
        super().kill_worker(pid, sig)


def has_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
