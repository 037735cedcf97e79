"""Who comes to a full queue is told so before he costs a thread; who comes when it has drained comes in."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests

from imagequeue.client import Answer
from tests.faults.conftest import Case, MakeCase
from tests.support.burst import burst
from tests.support.history import Sending
from tests.support.pictures import picture
from tests.support.scrape import scrape
from tests.support.system import eventually

QUEUE = 8
CLIENTS = 10 * QUEUE
# More than fits into the buffers of a connection: a client can send it only if the server takes it.
LARGE = 8 * 2**20


def port_of(case: Case) -> int:
    port = urlsplit(case.system.url).port
    assert port is not None
    return port


def fill(case: Case) -> list[Sending]:
    """A worker that stands still, and a queue with no room."""
    case.system.workers[0].signal(signal.SIGSTOP)
    waiting = []
    with case.server.client() as client:
        # What it had asked for before it stood still is over.
        eventually(lambda: client.info("clients")["blocked_clients"] == 0)
        for number in range(QUEUE):
            waiting.append(case.history.start([picture(number)]))
            eventually(lambda: len(case.system.webs[0].lines("enqueued")) == len(waiting))
        assert client.llen("image_queue") == QUEUE
    return waiting


def drain(case: Case, waiting: list[Sending]) -> None:
    """The worker goes on: those who waited are answered, and those who come now."""
    case.system.workers[0].signal(signal.SIGCONT)
    assert all(isinstance(outcome, Answer) for sending in waiting for outcome in sending.join())
    eventually(lambda: case.system.predict(picture(1000)).status_code == 200)
    assert all(isinstance(o, Answer) for o in case.history.send([picture(2000 + n) for n in range(QUEUE)], 2))
    case.history.check()


def request(number: int, image: bytes, *fields: str) -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: localhost", "Connection: close", f"X-Request-ID: doorstep-{number}"]
    return (
        "\r\n".join([*lines, "Content-Type: image/png", f"Content-Length: {len(image)}", *fields, "", ""]).encode()
        + image
    )


def test_each_of_ten_times_as_many_hears_why_he_is_refused_and_is_counted(
    make_case: MakeCase,
) -> None:
    # The lease outlasts the pause.
    case = make_case(MAX_QUEUE_LENGTH=QUEUE, WEB_PROCESSES=2, LEASE_SECONDS=30, REQUEST_TIMEOUT=60).start()
    waiting = fill(case)
    images = [picture(100 + n) for n in range(CLIENTS)]
    replies = burst(port_of(case), [request(n, image) for n, image in enumerate(images)])
    assert {(reply.status, reply.error) for reply in replies} == {(503, "")}
    assert all(b'"code":"queue_full"' in reply.content for reply in replies)
    assert all(int(reply.header("Retry-After")) >= 1 for reply in replies)
    assert [reply.header("X-Request-ID") for reply in replies] == [f"doorstep-{n}" for n in range(len(replies))]

    def is_accounted_for() -> bool:
        counted = scrape(f"{case.system.url}/metrics")
        logged = [line["request"] for line in case.system.webs[0].lines("refused")]
        return (
            counted.value("http_refused_total", reason="queue_full") == len(replies)
            and counted.value("http_requests_total", route="/predict", code="503") == len(replies)
            and sorted(logged) == sorted(f"doorstep-{n}" for n in range(len(replies)))
        )

    eventually(is_accounted_for)
    drain(case, waiting)


def test_refused_clients_are_listened_to_and_cost_no_thread_even_if_they_never_hang_up(make_case: MakeCase) -> None:
    case = make_case(MAX_QUEUE_LENGTH=QUEUE, LEASE_SECONDS=30, REQUEST_TIMEOUT=60)
    case.system.worker()
    case.system.web_with("imagequeue.web.admission.REFUSAL_SECONDS = 600")
    fill(case)
    (process,) = case.system.webs[0].children()
    whole = request(0, picture(100))
    # From the first one on, a refusal stands.
    for image in (picture(100), bytes(LARGE), bytes(LARGE)):
        (reply,) = burst(port_of(case), [request(0, image)])
        assert (reply.status, reply.error) == (503, ""), "heard, however much was still to come"

    def threads() -> int:
        return len(list(Path(f"/proc/{process}/task").iterdir()))

    before = threads()
    with ExitStack() as open_ones:
        clients = [
            open_ones.enter_context(socket.create_connection(("127.0.0.1", port_of(case)), timeout=20))
            for _ in range(CLIENTS)
        ]
        for number, client in enumerate(clients):
            client.sendall(request(0, picture(100), "Expect: 100-continue")[:-3000] if number % 2 else whole[:-10])
        assert requests.get(f"{case.system.url}/livez", timeout=9).status_code == 200
        for client in clients:
            answer = b"".join(iter(partial(client.recv, 65536), b""))
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            assert b'"code":"queue_full"' in answer
        # The account is kept by one, the probe is answered by another.
        assert threads() - before <= CLIENTS / 4
