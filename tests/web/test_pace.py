"""Slow clients: no number of them keeps another from being served."""

from __future__ import annotations

import io
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests

from imagequeue.web import pace
from imagequeue.web.pace import PacedWorker
from imagequeue.web.rebuff import head_too_long
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import Script, System, eventually

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"

# A web server in which the head of the first connection has two seconds, and of each later one a minute.
TWO_SECONDS_FOR_THE_FIRST = """
from imagequeue.web import pace
import run_web_server

class Seconds:
    left = 2.0

    def __radd__(self, now):
        seconds, Seconds.left = Seconds.left, 60.0
        return now + seconds

pace.HEAD_SECONDS = Seconds()
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
            client.sendall(b"GET /livez HTTP/1.1\r\n" + field * (pace.MAX_HEAD // len(field) + 1))
        answers = [client.recv(65536) for client in clients]
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 431 Request Header Fields Too Large"}
        assert all(f"longer than {pace.MAX_HEAD} bytes".encode() in answer for answer in answers)
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


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> PacedWorker:
    """One that has five connections; nothing of it runs."""
    process = PacedWorker.__new__(PacedWorker)
    process.nr_conns = 5
    process._left_until = process._none_left_until = 0.0
    monkeypatch.setattr(pace, "TURN_SECONDS", 0.05)
    # Too long for any machine to pass in a test.
    monkeypatch.setattr(pace, "NO_TURN_SECONDS", 600.0)
    return process


def test_a_connection_that_had_to_go_for_another_in_its_round_is_not_read_any_more(
    process: PacedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "MAX_LEAVING", 1)
    process._leaving, process._scratch = {}, bytearray(16)
    process.poller = selectors.DefaultSelector()
    with ExitStack() as sockets:
        sockets.callback(process.poller.close)
        pairs = [[sockets.enter_context(end) for end in socket.socketpair()] for _ in range(2)]
        gone, comer = (Mock(sock=ours, close=ours.close) for ours, _ in pairs)
        process._turn_away(gone, head_too_long(9, "a"))
        pairs[0][1].sendall(b"more")
        [(key, _)] = process.poller.select(9)
        process._turn_away(comer, head_too_long(9, "b"))
        assert list(process._leaving) == [comer]
        key.data(key.fileobj)
        assert list(process._leaving) == [comer]
        assert process.nr_conns == 4


@pytest.mark.parametrize("elsewhere", [None, 4, 5, 9])
def test_a_process_takes_a_connection_unless_a_sibling_has_clearly_fewer(
    process: PacedWorker, elsewhere: int | None
) -> None:
    process.least_elsewhere = lambda count: elsewhere
    assert not process._leaves_it()


def test_a_connection_is_left_to_a_sibling_until_that_has_as_many(process: PacedWorker) -> None:
    told, elsewhere = [], [3]

    def least(count: int) -> int:
        told.append(count)
        return elsewhere[0]

    process.least_elsewhere = least
    assert process._leaves_it()
    elsewhere[0] = 4
    assert not process._leaves_it()
    assert told == [5, 5], "the sibling hears how many are here"


def test_a_sibling_that_does_not_come_is_waited_for_once_and_not_again_for_a_while(process: PacedWorker) -> None:
    process.least_elsewhere = lambda count: 0
    looks = 1
    while process._leaves_it():
        looks += 1
    assert looks > 1
    assert not process._leaves_it()


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
