"""One decoder process, as the web process sees it."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from imagequeue.errors import ClientGone
from imagequeue.web.decoding import spawner, wire
from imagequeue.web.decoding.turn import HUNG_UP, Turn, past_deadline

# For a message that has begun to come, or to be taken: seconds and microseconds, as the kernel has them. No decoder
# that is well takes so long.
_TIME = struct.pack("ll", 5, 0)
# How long starting one may take, on a machine that does much else.
SPAWN_SECONDS = 10.0


class DecoderDied(Exception):
    """It ended before it replied: the file crashed it, or somebody killed it."""


class HadEnded(Exception):
    """It was gone before it was asked: something took it away, and no file did."""


class NoProcess(OSError):
    """The system gives none for another decoder; those that are there are well."""


class Decoder:
    """Used by one thread at a time."""

    def __init__(self, connection: socket.socket, pid: int, kill: Callable[[int], object]) -> None:
        """kill: ends the process with that id."""
        self._connection = connection
        self._kill = kill
        self.pid = pid
        # The kernel's own: Python would ask for each call whether it would wait.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, _TIME)

    def ask(
        self,
        head: Mapping[str, Any],
        parts: Sequence[bytes],
        *,
        turn: Turn,
        accept: Callable[[dict[str, Any], int], object],
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The reply. accept: see wire.receive.

        Raises HadEnded, DecoderDied; DeadlineExceeded, and ClientGone once the client has hung up: then the decoder is
        still at it, and can only be ended.
        """
        try:
            wire.send(self._connection, {**head, "seconds": max(0.0, turn.until - time.monotonic())}, parts)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise HadEnded(repr(error)) from error
        except OSError as error:
            raise DecoderDied(repr(error)) from error
        self._wait(turn)
        try:
            return wire.receive(self._connection, accept=accept)
        except (OSError, wire.Broken) as error:
            raise DecoderDied(repr(error)) from error

    def _wait(self, turn: Turn) -> None:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if turn.client is not None and turn.client.fileno() >= 0 and HUNG_UP:
            poll.register(turn.client, HUNG_UP)
        found = dict(poll.poll(max(0.0, turn.until - time.monotonic()) * 1000))
        if self._connection.fileno() in found:
            return
        if found:
            raise ClientGone("The client has hung up.")
        raise past_deadline()

    def end(self) -> None:
        """Whatever it is doing."""
        self._connection.close()
        self._kill(self.pid)


class Spawner:
    """The process that forks decoders (see spawner), started when it is first needed, and again if it has died."""

    def __init__(self, *, memory: int) -> None:
        """memory: bytes that one task may take."""
        self._memory = memory
        self._lock = threading.Lock()
        self._is_stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def spawn(self, until: float) -> Decoder:
        """until: the instant (of time.monotonic) up to which the caller waits for its turn.

        Raises OSError, DeadlineExceeded.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._held(until):
                try:
                    pid = self._order(theirs)
                except NoProcess:
                    raise
                except OSError:
                    # It has died since; a second failure is the caller's.
                    self._stop()
                    pid = self._order(theirs)
        except BaseException:
            ours.close()
            raise
        return Decoder(ours, pid, self._kill)

    def stop(self) -> None:
        """End the spawner, which ends all decoders that are left."""
        with self._lock:
            self._is_stopped = True
            self._stop()

    @contextmanager
    def _held(self, until: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise past_deadline()
        try:
            yield
        finally:
            self._lock.release()

    def _order(self, theirs: socket.socket) -> int:
        control = self._running()
        # Not the caller's time: an answer that came later would be taken for the next order's.
        control.settimeout(SPAWN_SECONDS)
        socket.send_fds(control, [spawner.ORDER.pack(b"s", 0)], [theirs.fileno()])
        answer = control.recv(spawner.ANSWER.size, socket.MSG_WAITALL)
        if len(answer) < spawner.ANSWER.size:
            raise OSError("the process that starts decoders has ended")
        (pid,) = spawner.ANSWER.unpack(answer)
        if not pid:
            raise NoProcess("the system starts no process")
        return int(pid)

    def _kill(self, pid: int) -> None:
        with self._lock, suppress(OSError):
            if self._control is not None:
                self._control.sendall(spawner.ORDER.pack(b"k", pid))

    def _running(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._is_stopped:
            raise OSError("this process ends")
        self._stop()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", spawner.__name__, str(theirs.fileno()), json.dumps({"memory": self._memory})],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_environment(),
            )
        self._control = ours
        return ours

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None


def _environment() -> dict[str, str]:
    """No secret of the web server's. The heap keeps what an ordinary image frees, for the next one: giving each buffer
    back at once costs a fifth of the throughput in page faults.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
    }
