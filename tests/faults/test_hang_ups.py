"""Clients that hang up while they wait: nothing is computed for nobody."""

from __future__ import annotations

import signal
import socket
from urllib.parse import urlsplit

from imagequeue.client import Answer
from tests.faults.conftest import MakeCase
from tests.support.pictures import picture
from tests.support.system import System, eventually


def send_and_wait(system: System, image: bytes) -> socket.socket:
    """A client that has sent its image whole and reads nothing yet."""
    address = urlsplit(system.url)
    client = socket.create_connection((address.hostname, address.port))
    client.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
        % len(image)
    )
    client.sendall(image)
    return client


def test_the_images_of_clients_that_hang_up_are_not_computed_and_the_others_are_answered(make_case: MakeCase) -> None:
    case = make_case(LEASE_SECONDS=30).start()
    (worker,) = case.system.workers
    web = case.system.webs[0]
    # The worker has nothing in hand; one document at most that the bell brings it.
    worker.signal(signal.SIGSTOP)
    try:
        impatient = [send_and_wait(case.system, picture(number)) for number in range(6)]
        eventually(lambda: len(web.lines("enqueued")) == 6)
        patient = case.history.start([picture(100)], connections=1)
        eventually(lambda: len(web.lines("enqueued")) == 7)
        for client in impatient:
            client.close()
        eventually(lambda: len(web.lines("client_gone")) == 6)
        gone = {line["job"] for line in web.lines("client_gone")}
        with case.server.client() as client:
            eventually(lambda: client.exists(*(f"{{image_queue}}:result:{job}" for job in gone)) == 6, what="cancelled")
    finally:
        worker.signal(signal.SIGCONT)
    assert isinstance(*patient.join(), Answer)
    eventually(lambda: case.system.is_ready())
    assert not gone & {line["job"] for line in worker.lines("completed")}
    assert {line["error"] for line in web.lines("answered") if "error" in line} == {"client_gone"}
    case.history.check()
