"""The worker's metrics port: a scrape is answered, and strangers get a bounded part of the process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from imagequeue.scrapeserver import MOST_CONNECTIONS, MOST_HEAD, ScrapeServer
from tests.support.system import eventually

PAGE = b"a page\n" * 100_000


@pytest.fixture
def make_server() -> Iterator[Callable[..., ScrapeServer]]:
    made: list[ScrapeServer] = []

    def make(page: bytes = PAGE, **options: float) -> ScrapeServer:
        made.append(ScrapeServer("127.0.0.1", 0, lambda accept: (page, f"text/plain; for={accept}"), **options))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def clients() -> Iterator[Callable[[ScrapeServer, bytes], socket.socket]]:
    """Connections that have sent something, closed when the test is over."""
    with ExitStack() as stack:

        def connect(server: ScrapeServer, sent: bytes) -> socket.socket:
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            one.sendall(sent)
            return one

        yield connect


def url(server: ScrapeServer, path: str = "/metrics") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def answer(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("path", ["/metrics", "/", "/metrics?name=x"])
def test_get_brings_the_page_in_the_form_that_is_accepted(path: str, make_server: Callable[..., ScrapeServer]) -> None:
    response = requests.get(url(make_server(), path), headers={"Accept": "some/type"}, timeout=20)
    assert (response.status_code, response.content) == (200, PAGE)
    assert response.headers["Content-Type"] == "text/plain; for=some/type"


def test_head_brings_its_length_alone(make_server: Callable[..., ScrapeServer]) -> None:
    response = requests.head(url(make_server()), timeout=20)
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(len(PAGE)))


def test_other_methods_paths_and_long_heads_are_refused(
    make_server: Callable[..., ScrapeServer], clients: Callable[[ScrapeServer, bytes], socket.socket]
) -> None:
    server = make_server()
    response = requests.post(url(server), data=b"x", timeout=20)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert requests.get(url(server, "/etc"), timeout=20).status_code == 404
    assert answer(clients(server, b"GET /" + b"a" * MOST_HEAD)).startswith(b"HTTP/1.1 431 ")
    for nonsense in (b"\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET  \r\n:\r\n\r\n"):
        assert answer(clients(server, nonsense))[:12] in (b"HTTP/1.1 405", b"HTTP/1.1 404")


def test_idle_connections_cost_no_thread_and_keep_nobody_out(
    make_server: Callable[..., ScrapeServer], clients: Callable[[ScrapeServer, bytes], socket.socket]
) -> None:
    server, threads = make_server(deadline=600), threading.active_count()
    idle = [clients(server, b"GET /metr") for _ in range(5 * MOST_CONNECTIONS)]
    assert requests.get(url(server), timeout=20).content == PAGE
    assert threading.active_count() == threads
    # The oldest have been closed, to make room for the latest.
    assert answer(idle[0]) == b""
    eventually(lambda: len(server._open) <= MOST_CONNECTIONS)


def test_a_slow_connection_is_closed_at_its_deadline_however_it_trickles(
    make_server: Callable[..., ScrapeServer], clients: Callable[[ScrapeServer, bytes], socket.socket]
) -> None:
    server = make_server(deadline=0.2)
    assert answer(clients(server, b"")) == b""
    eventually(lambda: not server._open)
    trickling = clients(server, b"G")

    def is_closed() -> bool:
        try:
            trickling.sendall(b"a")
        except ConnectionError:
            return True
        return False

    eventually(is_closed)


def test_an_answer_that_nobody_takes_is_let_go_at_the_deadline(make_server: Callable[..., ScrapeServer]) -> None:
    # More than the kernel takes off the server's hands.
    server = make_server(page=b"x" * 2**25, deadline=0.3)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        eventually(lambda: server._open)
        eventually(lambda: not server._open)


def test_an_address_that_is_taken_is_an_error_of_the_one_who_asks(make_server: Callable[..., ScrapeServer]) -> None:
    with pytest.raises(OSError, match="in use"):
        ScrapeServer("127.0.0.1", make_server().port, lambda accept: (b"", ""))
