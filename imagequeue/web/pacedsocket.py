"""A client's connection on which no single wait is endless; see pace for what is waited for, and where."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import Any

from imagequeue.errors import Unavailable

PATIENCE = 10.0
LEAST_RATE = 8 * 1024
SEND_SECONDS = 30.0
# The rest of a refused body is read for so long, and a connection's end waited for; a pause of GAP_SECONDS ends it.
LINGER_SECONDS = 5.0
GAP_SECONDS = 0.25


class PacedSocket(socket.socket):
    """The connection, in the hands of one thread at a time."""

    _started = 0.0
    _received = 0
    _hurried = float("inf")
    _on_settled: Callable[[], object] | None = None
    # Of the request that is on it: when its head was whole (of time.monotonic), and what it is to hear.
    came = 0.0
    refusal: Unavailable | None = None

    @classmethod
    def over(cls, plain: socket.socket) -> PacedSocket:
        """Takes the connection over; `plain` is of no use afterwards."""
        paced = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        paced.setblocking(False)
        return paced

    def restart(
        self, on_settled: Callable[[], object] | None = None, came: float = 0.0, refusal: Unavailable | None = None
    ) -> None:
        """The next bytes belong to another request. on_settled: see `settle`."""
        self._started, self._received, self._hurried = 0.0, 0, float("inf")
        self._on_settled, self.came, self.refusal = on_settled, came, refusal

    def settle(self) -> None:
        """From now on the request only waits, for its client or for its job, or it is over. The first call counts."""
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled()

    def hurry(self) -> None:
        """What still comes is not needed: taken while it comes without a pause, for LINGER_SECONDS at most."""
        self._hurried = min(self._hurried, time.monotonic() + LINGER_SECONDS)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises TimeoutError when the request is too slow."""
        now = time.monotonic()
        self._started = self._started or now
        left = min(self._started + PATIENCE + self._received / LEAST_RATE, self._hurried) - now
        if left <= 0:
            raise TimeoutError("The request came too slowly.")
        if self._on_settled is not None:
            # As long as it does not wait.
            try:
                received = super().recv(size, flags | socket.MSG_DONTWAIT)
                self._received += len(received)
                return received
            except BlockingIOError:
                self.settle()
        is_hurried = self._hurried < float("inf")
        self.settimeout(min(left, GAP_SECONDS) if is_hurried else left)
        try:
            received = super().recv(size, flags)
        except TimeoutError:
            if is_hurried:
                self._hurried = 0.0
            raise
        self._received += len(received)
        return received

    def recv_waiting(self, size: int) -> bytes:
        """What is there now. Raises BlockingIOError if nothing is."""
        if self.gettimeout():
            # sendall has left it, and Python would wait so long before it asks.
            self.setblocking(False)
        return super().recv(size, socket.MSG_DONTWAIT)

    def setblocking(self, flag: bool) -> None:
        """Nothing, once it is closed: Gunicorn's loop closes again what its thread has closed, and would count the
        error as one more connection gone. A server that ends waits until none is left by that count.
        """
        if self.fileno() >= 0:
            super().setblocking(flag)

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Raises BrokenPipeError when the client does not take the answer."""
        self.settimeout(SEND_SECONDS)
        try:
            super().sendall(content, flags)
        except TimeoutError as error:
            raise BrokenPipeError(errno.EPIPE, "The client does not take its answer.") from error
