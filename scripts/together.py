"""The worker and the web server of `make serve`, started together; the web server ends first, the worker after it."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from honcho.manager import Manager


class Together(Manager):  # type: ignore[misc, unused-ignore]
    """honcho's manager, which ends the process `last` only once the others have ended.

    So what the web server has accepted is still computed: a worker that ends at the same time hands its jobs back to a
    queue that nobody empties. A second signal ends all at once, and so does the end of any process.
    """

    def __init__(self, *, last: str) -> None:
        super().__init__()
        self._last = last
        self._is_ending = False

    def terminate(self) -> None:
        running = [name for name, one in self._processes.items() if "pid" in one and "returncode" not in one]
        if not self._is_ending:
            self._is_ending = True
            running = [name for name in running if name != self._last] or running
            self._system_print("ending; what was accepted is answered first\n")
        for name in running:
            self._procmgr.terminate(self._processes[name]["pid"])


def end_with_terminal() -> None:
    """Have the end of the terminal end this process as Ctrl-C does."""
    had_terminal = sys.stdout.isatty()

    def hang_up(number: int, frame: FrameType | None) -> None:
        if had_terminal and not sys.stdout.isatty():
            # Each line that is still printed would fail, in the middle of the end.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())
        os.kill(os.getpid(), signal.SIGTERM)

    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hang_up)
