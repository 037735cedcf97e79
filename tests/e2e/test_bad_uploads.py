"""What is no image, or no request, is refused at the web server: the worker never hears of it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from imagequeue.client import Client
from tests.conftest import KINDS, redis_binary
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import Script, System, eventually
from tests.support.uploads import GOOD, MAX_BYTES, MAX_PIXELS, Upload, bad_uploads


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for all these tests: what they send must leave no trace."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    limits = {"MAX_UPLOAD_BYTES": MAX_BYTES, "MAX_IMAGE_PIXELS": MAX_PIXELS, "DRAIN_SECONDS": 0}
    system = System(server.url, tmp_path_factory.mktemp("system"), **limits)
    try:
        yield system.start()
    finally:
        system.stop()
        server.remove()


def send(connection: http.client.HTTPConnection, upload: Upload) -> http.client.HTTPResponse:
    headers = {"Content-Type": upload.kind} if upload.kind else {}
    body = iter([upload.body[:1000], upload.body[1000:]]) if upload.is_chunked else upload.body
    path = "/predict" + quote(upload.query, safe="?=%")
    connection.request("POST", path, body, headers, encode_chunked=upload.is_chunked)
    return connection.getresponse()


def wrong_with(upload: Upload, response: http.client.HTTPResponse) -> str:
    """What is not as it should be with the answer to a bad upload; empty if nothing is."""
    body = response.read()
    try:
        document = json.loads(body)
        found = (response.status, document["success"], document["error"]["code"])
        is_house_shape = set(document) == {"success", "error", "id"} and set(document["error"]) == {"code", "message"}
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status} {body[:200]!r}"
    if found != (upload.status, False, upload.code) or not is_house_shape:
        return f"HTTP {response.status} {body[:300]!r}"
    if not document["error"]["message"] or "Traceback" in document["error"]["message"]:
        return f"message {document['error']['message']!r}"
    if response.headers["X-Request-ID"] is None or response.headers["Content-Type"] != "application/json":
        return f"headers {response.headers.items()}"
    return ""


def assert_good_images_are_answered(system: System) -> None:
    with Client(system.url) as client:
        for number in range(3):
            assert client.predict(picture(number)).predictions[0].label == null_label(picture(number))


def lines(script: Script) -> list[str]:
    return script.output.splitlines()


def test_every_bad_upload_is_refused_as_it_deserves_and_the_worker_never_hears_of_it(system: System) -> None:
    assert_good_images_are_answered(system)
    (worker,), (web,) = system.workers, system.webs
    # The worker writes it after the answer has gone home.
    eventually(lambda: len(worker.lines("completed")) == len(worker.lines("claimed")))
    pid, before, refused_before = worker.pid, lines(worker), len(web.lines("refused"))
    uploads = bad_uploads()
    assert len({upload.name for upload in uploads}) >= 60
    # One kept-alive connection for all: what a refusal leaves unread would be taken for the next request.
    connection = http.client.HTTPConnection(urlsplit(system.url).netloc, timeout=30)
    wrong = {upload.name: reason for upload in uploads if (reason := wrong_with(upload, send(connection, upload)))}
    assert not wrong, "\n".join(f"{name}: {reason}" for name, reason in wrong.items())
    assert lines(worker) == before
    assert_good_images_are_answered(system)
    assert (worker.is_running, worker.pid) == (True, pid)
    for script in (web, worker):
        assert "Traceback" not in script.output
        assert " ERROR " not in script.output
    refused = web.lines("refused")[refused_before:]
    assert len(refused) == len(uploads)
    assert all("request" in line for line in refused)


HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
CHUNKED = HEAD + "Transfer-Encoding: chunked\r\n"
NO_HTTP = [
    HEAD + "Content-Length: -5\r\n\r\n",
    HEAD + "Content-Length: many\r\n\r\n",
    HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    CHUNKED + "\r\nzz\r\nx\r\n",
    CHUNKED + "\r\n-5\r\nx\r\n0\r\n\r\n",
    CHUNKED + "\r\n5\r\nlonger than it says\r\n0\r\n\r\n",
    CHUNKED + "\r\nffff\r\nshorter than it says",
    CHUNKED.replace("image/png", "application/json") + "\r\nzz\r\nx\r\n",
    CHUNKED.replace("image/png", "multipart/form-data; boundary=x") + "\r\nzz\r\nx\r\n",
    CHUNKED.replace("image/png", "text/plain") + "\r\nzz\r\nx\r\n",
    "POST /predict HTTP/1.1\r\nHost x\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


def test_what_is_no_http_costs_its_connection_only(system: System) -> None:
    address, claimed = urlsplit(system.url), len(system.workers[0].lines("claimed"))
    for text in NO_HTTP:
        with socket.create_connection((address.hostname, address.port), timeout=20) as raw:
            raw.sendall(text.encode("latin-1"))
            raw.shutdown(socket.SHUT_WR)
            answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 4"), (text, answer)
    assert_good_images_are_answered(system)
    assert "Traceback" not in system.webs[0].output
    assert len(system.workers[0].lines("claimed")) == claimed + 3


def test_an_upload_that_breaks_off_is_no_event(system: System) -> None:
    address, claimed = urlsplit(system.url), len(system.workers[0].lines("claimed"))
    for length, kind in (
        (len(GOOD), "image/png"),
        (5000, "multipart/form-data; boundary=x"),
        (5000, "application/json"),
    ):
        with socket.create_connection((address.hostname, address.port), timeout=20) as raw:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            )
            raw.sendall(head.encode() + GOOD[:500])
    assert_good_images_are_answered(system)
    assert "Traceback" not in system.webs[0].output
    assert len(system.workers[0].lines("claimed")) == claimed + 3
