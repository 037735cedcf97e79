"""A few connections of HTTP, answered by one thread: all that a scrape takes, and all that a stranger can take.

A thread for each connection would be as many threads as somebody opens connections, in a process that has a model to
run. Here an idle one costs a socket, for a few seconds; the oldest is closed when there is no room for another.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from imagequeue.events import warn

MOST_CONNECTIONS = 32
# From a connection's first moment to its last, seconds; a scrape takes milliseconds.
DEADLINE_SECONDS = 5.0
MOST_HEAD = 8192
PATHS = ("/", "/metrics")

Page = Callable[[str], tuple[bytes, str]]
"""From a request's Accept to the page and its content type."""


@dataclass
class Connection:
    """One client: what it has sent so far, and what it has not taken yet."""

    socket: socket.socket
    ends_at: float
    head: bytes = b""
    answer: memoryview = field(default_factory=lambda: memoryview(b""))


class ScrapeServer:
    """Listens from the moment it is made, and answers once `start` was called."""

    def __init__(self, host: str, port: int, page: Page, *, deadline: float = DEADLINE_SECONDS) -> None:
        """Raises OSError if the address is taken, or not this machine's. deadline: seconds for each connection."""
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._listener = socket.socket(family, kind)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(MOST_CONNECTIONS)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self._page = page
        self._deadline = deadline
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        # Written to by `stop`, to end the wait.
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        # The oldest first.
        self._open: dict[socket.socket, Connection] = {}
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ringer.close()
        self._thread.join()

    def _serve(self) -> None:
        is_stopping = False
        while not is_stopping:
            first = next(iter(self._open.values()), None)
            wait = None if first is None else max(0.0, first.ends_at - time.monotonic())
            for key, _ in self._selector.select(wait):
                if key.fileobj is self._bell:
                    is_stopping = True
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, Connection) and key.data.socket in self._open:
                    self._go_on_with(key.data)
            now = time.monotonic()
            for connection in [late for late in self._open.values() if late.ends_at <= now]:
                self._close(connection)
        for connection in list(self._open.values()):
            self._close(connection)
        for one in (self._listener, self._bell):
            one.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # No descriptor is left: this thread waits, and does not spin; its own are given back meanwhile.
            warn("metrics_not_accepted", reason=str(error))
            self._drop_oldest()
            time.sleep(0.1)
            return
        if len(self._open) >= MOST_CONNECTIONS:
            self._drop_oldest()
        accepted.setblocking(False)
        connection = self._open[accepted] = Connection(accepted, time.monotonic() + self._deadline)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _drop_oldest(self) -> None:
        if self._open:
            self._close(next(iter(self._open.values())))

    def _close(self, connection: Connection) -> None:
        del self._open[connection.socket]
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _go_on_with(self, connection: Connection) -> None:
        try:
            is_done = self._send(connection) if connection.answer else self._read(connection)
        except BlockingIOError:
            return
        except Exception as error:
            if not isinstance(error, OSError):
                warn("metrics_broke", reason=repr(error))
            is_done = True
        if is_done:
            self._close(connection)

    def _read(self, connection: Connection) -> bool:
        """True once there is nothing more to do for it."""
        received = connection.socket.recv(MOST_HEAD)
        connection.head += received
        is_whole = b"\r\n\r\n" in connection.head
        if not is_whole and len(connection.head) < MOST_HEAD:
            return not received
        connection.answer = memoryview(self._answer(connection.head) if is_whole else _response(431, b""))
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        return False

    def _send(self, connection: Connection) -> bool:
        connection.answer = connection.answer[connection.socket.send(connection.answer) :]
        if connection.answer:
            return False
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
        return True

    def _answer(self, head: bytes) -> bytes:
        request, *lines = head.decode("latin-1").split("\r\n")
        method, target, *_ = [*request.split(" "), "", ""]
        if method not in ("GET", "HEAD"):
            return _response(405, b"", "Allow: GET, HEAD\r\n")
        if target.partition("?")[0] not in PATHS:
            return _response(404, b"")
        fields = (line.partition(":") for line in lines)
        accept = next((value.strip() for name, _, value in fields if name.lower() == "accept"), "")
        content, kind = self._page(accept)
        return _response(200, content, f"Content-Type: {kind}\r\n", is_head=method == "HEAD")


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 431: "Request Header Fields Too Large"}


def _response(status: int, content: bytes, fields: str = "", *, is_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n{fields}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else content)
