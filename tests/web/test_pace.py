"""Slow clients: no number of them keeps another from being served."""

from __future__ import annotations

import io
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from imagequeue.web import heads
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import Script, System, eventually

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"

# A web server in which the head of the first connection has two seconds, and of each later one a minute.
TWO_SECONDS_FOR_THE_FIRST = """
from imagequeue.web import heads
import run_web_server

class Seconds:
    left = 2.0

    def __radd__(self, now):
        seconds, Seconds.left = Seconds.left, 60.0
        return now + seconds

heads.HEAD_SECONDS = Seconds()
run_web_server.main()
"""


@pytest.fixture
def system(make_redis: Callable[..., RedisServer], make_system: Callable[..., System]) -> System:
    """A server of few threads: four requests may wait."""
    return make_system(make_redis(), WEB_THREADS=12).start()


def connect(system: System) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(system.url.rsplit(":", 1)[1])), timeout=20)
    return connection


# Its body is never asked for.
UNREAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "start",
    [b"", b"POST /pred", HEAD + b"x", UNREAD],
    ids=["silent", "in the head", "in the body", "in a body that nobody reads"],
)
def test_hundreds_of_clients_that_stop_somewhere_do_not_stop_the_probes(start: bytes, system: System) -> None:
    with ExitStack() as slow:
        for _ in range(200):
            slow.enter_context(connect(system)).sendall(start)
        assert requests.get(f"{system.url}/livez", timeout=9).status_code == 200
        assert requests.get(f"{system.url}/readyz", timeout=9).status_code == 200
        if start != HEAD + b"x":
            assert system.predict(picture(1)).status_code == 200


def test_a_head_without_an_end_is_refused_and_costs_no_thread(system: System) -> None:
    field = b"X-Long: " + b"x" * 500 + b"\r\n"
    with ExitStack() as endless:
        clients = [endless.enter_context(connect(system)) for _ in range(60)]
        for client in clients:
            client.sendall(b"GET /livez HTTP/1.1\r\n" + field * (heads.MAX_HEAD // len(field) + 1))
        answers = [client.recv(65536) for client in clients]
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 431 Request Header Fields Too Large"}
        assert all(f"longer than {heads.MAX_HEAD} bytes".encode() in answer for answer in answers)
        assert requests.get(f"{system.url}/livez", timeout=9).status_code == 200


def test_clients_that_do_not_hang_up_do_not_stop_the_others(system: System) -> None:
    with ExitStack() as lingering:
        for _ in range(30):
            lingering.enter_context(connect(system)).sendall(b"NONSENSE\r\n\r\n")
        assert requests.get(f"{system.url}/livez", timeout=9).status_code == 200


def test_a_head_in_pieces_and_two_requests_in_one_piece_are_both_served(system: System) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(system) as connection:
        for start in range(0, len(request), 7):
            connection.sendall(request[start : start + 7])
            time.sleep(0.01)
        assert b"200 OK" in connection.recv(65536)
        connection.sendall(request + request)
        answers = b""
        while answers.count(b'{"status":"alive"}') < 2:
            received = connection.recv(65536)
            assert received, answers
            answers += received
        assert answers.count(b"200 OK") == 2


def test_a_head_that_trickles_has_its_time_whoever_is_silent_beside_it(
    make_redis: Callable[..., RedisServer], make_system: Callable[..., System], tmp_path: Path
) -> None:
    system = make_system(make_redis())
    port = free_port()
    settings = system.settings | {"WEB_PORT": port}
    system.webs.append(Script("-c", TWO_SECONDS_FOR_THE_FIRST, log=tmp_path / "web.log", **settings))
    system.urls.append(f"http://127.0.0.1:{port}")
    # Not by asking: the first connection is the one that trickles.
    system.webs[0].wait_for("listening")

    def trickle(connection: socket.socket) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            connection.sendall(b"x")
            time.sleep(0.05)

    with connect(system) as trickling, connect(system) as silent:
        # With each byte it goes behind the silent one, in the order in which heads were looked at last.
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            trickle(trickling)
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)


def test_a_body_that_comes_too_slowly_is_408(make_service: Callable[..., Service]) -> None:
    class Slow(io.BytesIO):
        def read(self, size: object = None) -> bytes:
            raise TimeoutError("The request came too slowly.")

        readinto = read1 = read  # type: ignore[assignment]

    service = make_service(with_worker=False)
    for kind in ("image/png", "application/json", "multipart/form-data; boundary=b"):
        answer = service.client.post("/predict", input_stream=Slow(bytes(1000)), content_length=1000, content_type=kind)
        assert (answer.status_code, answer.json["error"]["code"]) == (408, "too_slow"), kind


def test_the_server_ends_although_somebody_has_not_finished_asking(system: System, tmp_path: Path) -> None:
    with connect(system) as connection:
        connection.sendall(b"POST /pred")
        assert requests.get(f"{system.url}/livez", timeout=9).status_code == 200
        system.webs[0].signal(signal.SIGTERM)
        # Gunicorn's patience with what is in flight is 35 s.
        assert system.webs[0].wait(20) == 0


def test_connections_go_to_the_process_that_has_fewer(
    redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    system = make_system(redis_server, WEB_PROCESSES=2, LOG_LEVEL="debug")
    web = system.web()
    eventually(lambda: len(web.lines("subscribed")) == 2)
    full, empty = web.children()
    port = int(system.url.rsplit(":", 1)[1])

    def connections(pid: int) -> int:
        table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        established = {f"socket:[{row[9]}]" for row in table if row[1].endswith(f":{port:04X}") and row[3] == "01"}
        return sum(os.readlink(fd) in established for fd in Path(f"/proc/{pid}/fd").iterdir())

    def connect_to_either() -> socket.socket:
        return crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))

    with ExitStack() as crowd:
        os.kill(empty, signal.SIGSTOP)
        crowd.callback(os.kill, empty, signal.SIGCONT)
        for _ in range(30):
            connect_to_either()
        eventually(lambda: connections(full) == 30, what="a sibling that stands still is not waited for")
        os.kill(empty, signal.SIGCONT)
        more = 0
        while more < 40 and connections(empty) < 28:
            connect_to_either()
            more += 1
            eventually(lambda more=more: connections(empty) + connections(full) == 30 + more)
        assert connections(empty) == 28, "of forty at most; by chance it would be twenty"
