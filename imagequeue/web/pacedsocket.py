"""A client's connection on which no single wait is endless; see pace for what is waited for, and where."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from imagequeue.errors import Unavailable
from imagequeue.web.unsent import Outbox, UnsentAnswers

# Of silence, while a body is waited for; and how long it may be slower than LEAST_RATE.
PATIENCE = 10.0
LEAST_RATE = 8 * 1024
# For an answer: in all, however many pieces it has. And for all answers that follow each other without a rest.
SEND_SECONDS = 30.0
# A body that the answer did not need is read by its thread as far as it is there, and no further than this.
HURRIED_BYTES = 256 * 1024
# The event loop sends so much of an answer at a time, so that a fast client does not keep it from the others.
FLUSH_BYTES = 256 * 1024


class PacedSocket(socket.socket):
    """The connection, in the hands of one thread at a time."""

    _started = 0.0
    _received = 0
    # What may still be read of a body that is not needed; None as long as it is.
    _hurried: int | None = None
    _on_settled: Callable[[], object] | None = None
    _outbox: Outbox
    _account: UnsentAnswers
    # Of the request that is on it: when its head was whole (of time.monotonic), and what it is to hear.
    came = 0.0
    refusal: Unavailable | None = None
    # From `came` on, for the whole request.
    body_seconds = float("inf")
    # Since when (of time.monotonic) a thread has been waiting for more of it, if one is; whether it has been let go.
    waits_since: float | None = None
    is_let_go = False
    # How many bytes of its body nobody has read, once it is answered; None: unknown.
    unread: int | None = 0
    # What is left of SEND_SECONDS, since when (of time.monotonic); time that the client does not take is given back.
    _send_left = 0.0
    _send_changed = 0.0

    @classmethod
    def over(cls, plain: socket.socket, account: UnsentAnswers) -> PacedSocket:
        """Takes the connection over; `plain` is of no use afterwards. account: of what clients have not taken."""
        paced = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        paced.setblocking(False)
        paced._outbox = Outbox(account)
        paced._account = account
        return paced

    def restart(
        self, on_settled: Callable[[], object] | None = None, came: float = 0.0, refusal: Unavailable | None = None
    ) -> None:
        """The next bytes belong to another request. on_settled: see `settle`."""
        self._started, self._received, self._hurried, self.unread = 0.0, 0, None, None
        self._on_settled, self.came, self.refusal = on_settled, came or time.monotonic(), refusal

    def settle(self) -> None:
        """From now on the request only waits, for its client or for its job, or it is over. The first call counts."""
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled()

    def hurry(self) -> None:
        """What still comes is not needed: only what is there already is taken. The event loop takes the rest."""
        if self._hurried is None:
            self._hurried = HURRIED_BYTES

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises TimeoutError when the request is too slow, and at once where it is not waited for."""
        if self._hurried is not None:
            return self._recv_hurried(size)
        now = time.monotonic()
        self._started = self._started or now
        left = min(
            PATIENCE,
            self._started + PATIENCE + self._received / LEAST_RATE - now,
            self.came + self.body_seconds - now,
        )
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
        self.settimeout(left)
        self.waits_since = now
        try:
            received = super().recv(size, flags)
        finally:
            self.waits_since = None
        if self.is_let_go and not received:
            # It is here still, so this is not the end of what it sends.
            raise TimeoutError("The request was silent, and others wanted its place.")
        self._received += len(received)
        return received

    def let_go(self) -> None:
        """Its client has been silent, and others want its place: whoever reads its request finds that it has ended."""
        self.is_let_go = True
        # The client may be gone already.
        with suppress(OSError):
            self.shutdown(socket.SHUT_RD)

    def _recv_hurried(self, size: int) -> bytes:
        if not self._hurried:
            raise TimeoutError("The rest of the request is not read here.")
        try:
            received = self.recv_waiting(min(size, self._hurried))
        except BlockingIOError as error:
            self._hurried = 0
            raise TimeoutError("The rest of the request is not waited for here.") from error
        self._hurried -= len(received)
        return received

    def recv_waiting(self, size: int) -> bytes:
        """What is there now. Raises BlockingIOError if nothing is."""
        self._never_wait()
        return super().recv(size, socket.MSG_DONTWAIT)

    def discard_waiting(self, scratch: bytearray, size: int) -> int:
        """Throw away what is there now; how many bytes, 0 at the end. Raises BlockingIOError if nothing is."""
        self._never_wait()
        return super().recv_into(scratch, size, socket.MSG_DONTWAIT)

    def setblocking(self, flag: bool) -> None:
        """Nothing, once it is closed: Gunicorn's loop closes again what its thread has closed, and would count the
        error as one more connection gone. A server that ends waits until none is left by that count.
        """
        if self.fileno() >= 0:
            super().setblocking(flag)

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Never waits: what the client does not take at once is for the event loop to send, see `flush`."""
        self._send(memoryview(content), counted=len(content), owner=content)

    def send(self, content: Any, flags: int = 0) -> int:
        """As sendall: of one that is asked to send its body, too, the thread waits for nothing but the body."""
        self.sendall(content)
        return len(content)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As sendall. What is not taken at once of a file is held once, for all who ask for it."""
        held = self._account.file(file)
        content = memoryview(held.content)[offset : None if count is None else offset + count]
        self._send(content, counted=0, owner=held)
        return len(content)

    def _send(self, content: memoryview, *, counted: int, owner: object) -> None:
        if not self._outbox:
            self._never_wait()
            try:
                while content:
                    content = content[super().send(content, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                pass
        if content:
            self._outbox.put(content, counted=counted, owner=owner)

    @property
    def unsent_bytes(self) -> int:
        """Of answers that the process holds for this connection alone."""
        return self._outbox.counted

    @property
    def is_unsent(self) -> bool:
        return bool(self._outbox)

    def send_deadline(self) -> float:
        """The instant (of time.monotonic) by which all must be taken; asked when the first of it is not."""
        now = time.monotonic()
        self._send_left = min(SEND_SECONDS, self._send_left + now - self._send_changed)
        self._send_changed = now
        return now + self._send_left

    def all_sent(self) -> None:
        """The wait that began with `send_deadline` is over."""
        now = time.monotonic()
        self._send_left -= now - self._send_changed
        self._send_changed = now

    def flush(self) -> None:
        """Send what the client takes now, FLUSH_BYTES at most. Raises OSError when the connection is broken."""
        self._never_wait()
        left = FLUSH_BYTES
        try:
            while self._outbox and left > 0:
                sent = super().send(self._outbox.first[:left], socket.MSG_DONTWAIT)
                self._outbox.sent(sent)
                left -= sent
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._outbox.clear()
        super().close()

    def _never_wait(self) -> None:
        if self.gettimeout():
            # Python would wait for so long before it asks the kernel.
            self.setblocking(False)
