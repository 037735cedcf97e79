"""A script in a terminal of its own, which can be closed as a person closes the window."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import threading

from tests.support.system import ROOT


class TerminalScript:
    """`python …` as the leader of a session whose controlling terminal it is."""

    def __init__(self, *words: str, **settings: object) -> None:
        self._ours, theirs = pty.openpty()
        self._said = b""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "MODEL_CACHE": "none"}
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment | {name: str(value) for name, value in settings.items()},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        # A call of the reader that waits would keep the terminal open.
        self._to_close, self._close = os.pipe()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return self._said.decode(errors="replace")

    def close(self) -> None:
        """The window is gone: whoever still writes there gets an error."""
        os.close(self._close)
        self._reader.join()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def _read(self) -> None:
        while self._to_close not in select.select([self._ours, self._to_close], [], [])[0]:
            try:
                self._said += os.read(self._ours, 65536)
            except OSError:
                break
        os.close(self._ours)
        os.close(self._to_close)
