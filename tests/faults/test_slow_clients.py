"""Clients that are slow in any phase: probes are answered, images are, and each slow one is let go in its time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import KINDS, redis_binary
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System, eventually

MakeSystem = Callable[..., System]
MakeRedis = Callable[..., RedisServer]

BUNDLE = "/static/swagger-ui/swagger-ui-bundle.js"
# More than a server of so few threads has, with those that refuse.
THREADS = 12
CLIENTS = 150
# Of the process's own.
FEW_THREADS = 8


def head(start: str, *fields: str) -> bytes:
    return "\r\n".join([f"{start} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


TAKING = {
    "a static file": head(f"GET {BUNDLE}"),
    "three static files": head(f"GET {BUNDLE}") * 3,
    "a range of one": head(f"GET {BUNDLE}", "Range: bytes=1-"),
    "what the application writes": head("GET /openapi.json") * 20,
}
TRICKLING = {
    "a body without a key": head("POST /predict", "Content-Type: image/png", "Content-Length: 100000"),
    "a body to nowhere": head("POST /nowhere", "X-API-Key: k", "Content-Length: 100000"),
    "a body in chunks to nowhere": head("POST /nowhere", "X-API-Key: k", "Transfer-Encoding: chunked"),
    "a body that nobody reads": head("GET /livez", "Content-Length: 100000"),
    "behind the last request": head("GET /livez", "Connection: close"),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for all tests that leave nothing behind: each client has hung up by the next."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    shared = System(server.url, tmp_path_factory.mktemp("slow"), WEB_THREADS=THREADS, API_KEYS="alice:k").start()
    yield shared
    shared.stop()
    server.remove()


def connect(system: System, *, window: int = 0) -> socket.socket:
    """window: bytes that the client's kernel takes unread; 0: as many as it likes."""
    port = urlsplit(system.url).port
    client = socket.socket()
    client.settimeout(20)
    if window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.connect(("127.0.0.1", port))
    return client


def threads_that_wait_for_clients(system: System) -> int:
    """As the kernel calls it what they wait for; a thread without a request waits for a lock."""
    (process,) = system.webs[0].children()
    found = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        # One may end meanwhile.
        with suppress(FileNotFoundError):
            found += (task / "wchan").read_text().startswith(("poll_schedule_timeout", "sk_", "wait_woken"))
    return found


def assert_served(system: System) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live"):
        assert requests.get(system.url + path, timeout=9).status_code == 200
    answer = system.predict(picture(1), **{"X-API-Key": "k"})
    assert answer.status_code == 200, answer.text
    eventually(lambda: threads_that_wait_for_clients(system) <= FEW_THREADS)


@contextmanager
def each_now_and_then(
    clients: list[socket.socket], seconds: float, act: Callable[[socket.socket], object]
) -> Iterator[None]:
    """Each client acts once in so many seconds, until the block ends; one that is cut off no longer matters."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            for client in clients:
                with suppress(OSError):
                    act(client)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def sipping(clients: list[socket.socket]) -> AbstractContextManager[None]:
    """Each takes a few bytes now and then, until the block ends."""
    return each_now_and_then(clients, 0.2, lambda client: client.recv(500, socket.MSG_DONTWAIT))


def trickling(clients: list[socket.socket]) -> AbstractContextManager[None]:
    """Each sends a byte now and then, until the block ends."""
    return each_now_and_then(clients, 0.1, lambda client: client.send(b"1", socket.MSG_DONTWAIT))


@pytest.mark.parametrize("what", TAKING)
def test_clients_that_hardly_take_their_answer_cost_no_thread(what: str, system: System) -> None:
    with ExitStack() as crowd:
        clients = [crowd.enter_context(connect(system, window=2048)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(TAKING[what].replace(b"Host: localhost", b"Host: localhost\r\nX-API-Key: k"))
        with sipping(clients):
            assert_served(system)


@pytest.mark.parametrize("what", TRICKLING)
def test_clients_that_trickle_what_nobody_needs_cost_no_thread(what: str, system: System) -> None:
    with ExitStack() as crowd:
        clients = [crowd.enter_context(connect(system)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(TRICKLING[what])
        with trickling(clients):
            assert_served(system)
            for client in clients:
                assert client.recv(65536).startswith(b"HTTP/1.1 "), "and has its answer at once"


def with_constant(make_redis: MakeRedis, make_system: MakeSystem, statement: str) -> System:
    system = make_system(make_redis())
    system.worker()
    system.web_with(statement)
    return system


def test_an_answer_that_is_sipped_is_cut_off_although_it_never_rests(
    make_redis: MakeRedis, make_system: MakeSystem
) -> None:
    system = with_constant(make_redis, make_system, "imagequeue.web.pacedsocket.SEND_SECONDS = 2.0")
    with connect(system, window=2048) as client:
        # The second answer has no time of its own.
        client.sendall(TAKING["three static files"])

        def sip() -> None:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                assert client.recv(500)
                time.sleep(0.05)

        with pytest.raises(ConnectionResetError):
            sip()


def test_a_slow_client_that_keeps_at_it_gets_all_of_its_answer(system: System) -> None:
    expected = requests.get(system.url + BUNDLE, timeout=20).content
    with connect(system, window=65536) as client:
        client.sendall(head(f"GET {BUNDLE}", "Connection: close"))
        answer = bytearray()
        while received := client.recv(100_000):
            answer += received
            time.sleep(0.01)
    assert bytes(answer).partition(b"\r\n\r\n")[2] == expected


def unsent(system: System) -> list[int]:
    """Of each connection to the server: the bytes that the kernel holds for its client."""
    port = urlsplit(system.url).port
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].split(":")[0], 16) for row in table if row[1].endswith(f":{port:04X}") and row[3] == "01"]


@pytest.mark.parametrize("what", ["a static file", "a range of one"])
def test_a_file_that_a_crowd_does_not_take_uses_up_nobodys_room(what: str, system: System) -> None:
    # Held for each of them alone, it would be four times what all unsent answers may have: some would be cut off.
    with ExitStack() as crowd:
        for _ in range(CLIENTS):
            crowd.enter_context(connect(system, window=2048)).sendall(TAKING[what])
        eventually(lambda: sum(count > 0 for count in unsent(system)) == CLIENTS, what="each client gets it")
        assert_served(system)
        assert sum(count > 0 for count in unsent(system)) == CLIENTS


def test_the_kernel_holds_little_for_clients_that_take_nothing(system: System) -> None:
    with ExitStack() as crowd:
        for _ in range(20):
            crowd.enter_context(connect(system, window=2048)).sendall(TAKING["a static file"])
        eventually(lambda: sum(count > 0 for count in unsent(system)) == 20)
        assert max(unsent(system)) < 256 * 1024


def test_bodies_whose_clients_are_silent_give_their_places_to_others(system: System) -> None:
    # More than there are threads; each of them would be waited for, for ten seconds.
    lacking = head("POST /predict", "X-API-Key: k", "Content-Type: image/png", "Content-Length: 5000") + bytes(4999)
    with ExitStack() as crowd:
        for _ in range(3 * THREADS):
            crowd.enter_context(connect(system)).sendall(lacking)
        # Of so few places all may be changing hands at the moment: then it is refused, and comes again.
        for number in range(5):
            image = picture(number)
            eventually(lambda image=image: system.predict(image, **{"X-API-Key": "k"}).status_code == 200)


@pytest.mark.parametrize(
    ("rest", "promised"), [(b"", b"close"), (b"0\r\n\r\n", b"keep-alive")], ids=["unfinished", "whole"]
)
def test_a_connection_is_kept_only_where_the_end_of_its_chunked_body_is_known(
    rest: bytes, promised: bytes, system: System
) -> None:
    chunked = head("POST /predict", "Transfer-Encoding: chunked", "Content-Type: image/png") + b"5\r\nhello\r\n"
    with connect(system) as connection:
        connection.sendall(chunked + rest)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    # A client that is told so sends nothing into a connection that is about to be closed.
    assert b"Connection: " + promised in answer, answer


def test_a_body_that_lacks_its_last_byte_is_waited_for_no_longer_than_one_that_lacks_all(
    make_redis: MakeRedis, make_system: MakeSystem
) -> None:
    system = with_constant(make_redis, make_system, "imagequeue.web.pacedsocket.PATIENCE = 0.5")
    body = bytes(8 * 2**20)
    with connect(system) as client:
        client.sendall(head("POST /predict", "Content-Type: image/png", f"Content-Length: {len(body) + 1}") + body)
        # By the least rate it would have had 17 minutes.
        assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_keeps_the_least_rate_is_complete_in_the_requests_time_or_never(
    make_redis: MakeRedis, make_system: MakeSystem
) -> None:
    system = make_system(make_redis(), REQUEST_TIMEOUT=1).start()
    with connect(system) as client:
        client.sendall(head("POST /predict", "Content-Type: image/png", "Content-Length: 5000000"))
        client.settimeout(0.05)
        answer, end = b"", time.monotonic() + 20
        while not answer and time.monotonic() < end:
            client.sendall(bytes(4096))
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_connection_is_kept_when_the_rest_of_a_refused_body_comes_in_time(system: System) -> None:
    with connect(system) as client:
        for _ in range(3):
            client.sendall(head("POST /nowhere", "X-API-Key: k", "Content-Length: 300000") + bytes(1000))
            refusal = b""
            while not refusal.endswith(b"}\n"):
                refusal += client.recv(65536)
            assert refusal.startswith(b"HTTP/1.1 404 ")
            client.sendall(bytes(299_000))
            client.sendall(head("GET /livez"))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_to_be_asked_for_its_body_and_takes_nothing_holds_no_thread(system: System) -> None:
    ask = head("POST /nowhere", "X-API-Key: k", "Expect: 100-continue", "Content-Length: 1")
    with ExitStack() as crowd:
        for _ in range(60):
            client = crowd.enter_context(connect(system, window=2048))
            client.setblocking(False)
            try:
                for _ in range(200):
                    client.sendall(ask + b"x")
            except BlockingIOError:
                continue
        assert_served(system)


def test_hundreds_of_probes_in_one_piece_are_all_answered(system: System) -> None:
    with connect(system) as client:
        client.sendall(head("GET /livez") * 300 + head("GET /readyz", "Connection: close"))
        answers = b"".join(iter(partial(client.recv, 65536), b""))
    assert answers.count(b'{"status":"alive"}') == 300
    assert answers.endswith(b'{"status":"ready"}\n')


def test_probes_are_answered_while_every_thread_waits_for_a_body(system: System) -> None:
    with ExitStack() as crowd:
        for _ in range(CLIENTS):
            client = crowd.enter_context(connect(system))
            client.sendall(head("POST /predict", "X-API-Key: k", "Content-Type: image/png", "Content-Length: 9") + b"x")
        for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert requests.get(system.url + path, timeout=9).status_code == 200
            assert requests.head(system.url + path, timeout=9).status_code == 200


@pytest.mark.parametrize("body", [b"zz\r\n", b"1\r\naXX", b"0\r\nbroken trailer\r\n\r\n"])
def test_broken_chunks_behind_an_answer_that_needs_none_bring_no_second_answer(system: System, body: bytes) -> None:
    with connect(system) as client:
        client.sendall(head("GET /openapi.json", "X-API-Key: k", "Transfer-Encoding: chunked") + body)
        received = b""
        while piece := client.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 ") == 1, received[-500:]
    assert received.startswith(b"HTTP/1.1 200 ")
