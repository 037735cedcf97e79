"""Attackers: some that repeat a request, and crowds of thousands that one thread keeps alive."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from bench.attacks.scene import Scene
from bench.attacks.wire import ATTACKERS, ask

# Attackers that wait for an answer leave then at the latest.
PATIENCE = 20.0
# Bytes that the kernel takes in for one that does not read; the least that Linux gives.
TINY_WINDOW = 2304
# Between two bytes of one that sends or reads as little as it may.
TRICKLE_SECONDS = 0.2


def repeat(scene: Scene, requests: Sequence[bytes], *, clients: int, pause: float = 0.0) -> None:
    """So many clients at once, each sending one request after the other and waiting for each answer."""

    def go_on(place: int) -> None:
        for number in itertools.count(place):
            if scene.is_over:
                return
            request = requests[number % len(requests)]
            reply = ask(scene.address, request, source=ATTACKERS[place % len(ATTACKERS)], timeout=PATIENCE)
            scene.count(reply.outcome, reply.seconds)
            if reply.status == 0 and scene.rest(0.05):
                return
            if pause and scene.rest(pause):
                return

    _at_once(go_on, clients)


def hang_up(scene: Scene, request: bytes, *, clients: int, pause: float) -> None:
    """So many clients that send a whole request and leave, again and again."""

    def go_on(place: int) -> None:
        while not scene.is_over:
            try:
                with scene.address.connect(source=ATTACKERS[place % len(ATTACKERS)], timeout=PATIENCE) as connection:
                    connection.sendall(request)
                    scene.rest(0.05)
                scene.count("left")
            except OSError as error:
                scene.count(type(error).__name__)
            scene.rest(pause)

    _at_once(go_on, clients)


def _at_once(go_on: Callable[[int], None], clients: int) -> None:
    threads = [threading.Thread(target=go_on, args=(place,), daemon=True) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=2 * PATIENCE)


class Crowd:
    """Many connections of one thread; whoever is hung up on may come again."""

    def __init__(self, scene: Scene, first: Sequence[bytes], *, window: int | None = None) -> None:
        """first: what each sends at once, in turn. window: see Address.connect."""
        self._scene, self._first, self._window = scene, first, window
        self._places = itertools.count()
        self._open: dict[socket.socket, None] = {}

    def come(self, number: int) -> None:
        """So many more connect, until the time is over."""
        for _ in range(number):
            if self._scene.is_over:
                return
            self._connect()

    def stay(self, *, send: bytes = b"", takes: int = 0, comes_again: bool = False) -> None:
        """Until the time is over: each sends those bytes and reads at most `takes` bytes, again and again."""
        while not self._scene.is_over:
            started = time.monotonic()
            gone = [connection for connection in self._open if not self._touch(connection, send, takes)]
            for connection in gone:
                self._leave(connection)
                if comes_again and not self._scene.is_over:
                    self._connect()
            self._scene.rest(max(0.01, TRICKLE_SECONDS - (time.monotonic() - started)))

    def leave(self) -> None:
        """All hang up; those whom the service still served until then are counted as held."""
        for connection in list(self._open):
            if self._touch(connection, b"", 0):
                self._scene.held += 1
                self._scene.count("held")
            self._leave(connection)

    def _connect(self) -> None:
        place = next(self._places)
        try:
            connection = self._scene.address.connect(
                source=ATTACKERS[place % len(ATTACKERS)], timeout=2.0, window=self._window
            )
        except OSError as error:
            self._scene.count(f"connect: {type(error).__name__}")
            return
        try:
            connection.settimeout(5.0)
            connection.sendall(self._first[place % len(self._first)])
        except TimeoutError:
            # It does not take any more; those that it took are held.
            pass
        except OSError as error:
            self._scene.count(type(error).__name__)
            connection.close()
            return
        connection.setblocking(False)
        self._open[connection] = None

    def _leave(self, connection: socket.socket) -> None:
        del self._open[connection]
        connection.close()

    def _touch(self, connection: socket.socket, send: bytes, takes: int) -> bool:
        """Whether the connection is open. Counts how it was answered when it is not."""
        try:
            if send:
                connection.send(send)
        except OSError as error:
            if _is_later(error):
                return True
            self._scene.count(type(error).__name__)
            return False
        if not takes:
            return self._is_open(connection)
        try:
            received = connection.recv(takes)
        except OSError as error:
            if not _is_later(error):
                self._scene.count(type(error).__name__)
            return _is_later(error)
        if received.startswith(b"HTTP/1.1 "):
            self._scene.count(received[9:12].decode("latin-1"))
        elif not received:
            self._scene.count("cut off")
        return bool(received)

    def _is_open(self, connection: socket.socket) -> bool:
        if hasattr(connection, "pending"):
            # TLS: what has come cannot be looked at without taking it.
            return True
        try:
            received = connection.recv(16, socket.MSG_PEEK)
        except OSError as error:
            if not _is_later(error):
                self._scene.count(type(error).__name__)
            return _is_later(error)
        if not received:
            self._scene.count("cut off")
        return bool(received)


def _is_later(error: OSError) -> bool:
    """Whether it only means: not now."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def form(files: Iterable[bytes]) -> bytes:
    """A multipart body with the boundary `b`."""
    disposition = b'Content-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    return b"".join(b"--b\r\n" + disposition + file + b"\r\n" for file in files) + b"--b--\r\n"
