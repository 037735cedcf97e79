"""Hosts that downloads meet: one that refuses, one that never answers, one that drops packets, one that is slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.support.redisserver import free_port


@contextmanager
def refusing() -> Iterator[int]:
    """A port on which nobody listens."""
    yield free_port()


@contextmanager
def silent() -> Iterator[int]:
    """Connections are accepted, by the kernel, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@contextmanager
def dropping() -> Iterator[int]:
    """A port whose queue of connections is full: Linux drops further SYN packets, as many a firewall does."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(server.getsockname())
        yield server.getsockname()[1]


class Slow:
    """An HTTP server that sends headers after `headers_after` is set, and `pieces` bytes one by one, as `go` allows."""

    def __init__(self, pieces: int) -> None:
        self.headers_after, self.go, self.is_closed = threading.Event(), threading.Semaphore(0), threading.Event()
        self._pieces = pieces
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError), self._server.accept()[0] as client:
            client.recv(65536)
            self.headers_after.wait(30)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._pieces)
            for _ in range(self._pieces):
                self.go.acquire(timeout=30)
                client.sendall(b"x")
            if client.recv(1) == b"":
                self.is_closed.set()

    def stop(self) -> None:
        self._server.close()
