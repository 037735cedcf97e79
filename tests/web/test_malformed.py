"""Bytes that are not HTTP: JSON is the answer, and neither it nor the log holds what was sent."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from pathlib import Path

import pytest
from gunicorn.http import errors

from imagequeue.web import headers
from imagequeue.web.malformed import refusal_of
from tests.conftest import KINDS, redis_binary
from tests.support.redisserver import RedisServer
from tests.support.system import System, eventually

# Of a client, and nowhere to be seen again.
SECRET = b"sk-0123456789abcdef"
LONG = b"\xff" * 16_000 + SECRET + b"\xff" * 15_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One web server for all tests that only ask."""
    redis_server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    system = System(redis_server.url, tmp_path_factory.mktemp("system"), API_KEYS="alice:k")
    system.web()
    yield system
    system.stop()
    redis_server.remove()


def ask(system: System, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body of what comes back until the server hangs up."""
    address = ("127.0.0.1", int(system.url.rsplit(":", 1)[1]))
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    assert line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 200 ")), received[:200]
    return int(line.split()[1]), dict(BytesParser().parsebytes(fields)), body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n" + LONG + b"\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n" + LONG + b": x\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX-API-Key " + SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX-API-Key : " + SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX-API-Key: a\x00" + SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n " + SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: " + SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"\xff" * 2000 + SECRET + b" HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"g\xffT" + SECRET + b" / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/" + SECRET + b"\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET / HTTP/2.0\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET /" + b"a" * 5000 + SECRET + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431, "bad_request"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + SECRET + b"\r\n\r\n", 431, "bad_request"),
        (b"GET / HTTP/1.1\r\nExpect: " + SECRET + b"\r\n\r\n", 417, "expectation_failed"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: " + SECRET + b"\r\n\r\n", 501, "not_implemented"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + SECRET + b"\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
        (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-API-Key: k\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
            400,
            "bad_request",
        ),
        # Without a key, and so thrown away instead of read.
        (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
            401,
            "unauthorized",
        ),
    ],
)
def test_the_answer_is_json_and_nothing_of_what_was_sent_comes_back(
    system: System, sent: bytes, status: int, code: str
) -> None:
    found, fields, body = ask(system, sent)
    assert (found, fields["Content-Type"]) == (status, "application/json"), body
    assert json.loads(body)["error"]["code"] == code
    assert re.fullmatch(r"[0-9a-f]{32}", fields["X-Request-ID"])
    assert json.loads(body)["id"] == fields["X-Request-ID"]
    for name in (*headers.EVERYWHERE, "Content-Security-Policy"):
        assert name in fields
    assert SECRET not in body
    assert b"\xff" not in body
    assert SECRET.decode() not in system.webs[0].output
    assert "Traceback" not in system.webs[0].output


def test_a_crowd_of_them_leaves_a_few_short_lines_and_their_number(system: System) -> None:
    log = system.webs[0].log
    before = log.stat().st_size
    for _ in range(100):
        assert ask(system, b"GET / HTTP/1.1\r\nExpect: " + b"\xff" * 8000 + b"\r\n\r\n")[0] == 417

    def counted() -> int:
        lines = system.webs[0].lines("log_lines_left_out")
        return sum(int(line["lines"]) for line in lines if line["kind"] == "ExpectationFailed")

    eventually(counted)
    written = log.read_bytes()[before:]
    assert len(written) < 20_000, "they were 4.8 MB"
    assert b"bytes=8000" in written
    assert counted() > 50


def test_no_header_of_a_clients_becomes_the_prefix_or_the_path(system: System) -> None:
    for name in ("SCRIPT_NAME", "PATH_INFO", "REQUEST_METHOD", "HTTP_HOST", "WSGI.URL_SCHEME"):
        for value in ("/x", "/y", "//evil.example"):
            sent = f"GET /x/livez HTTP/1.1\r\nHost: localhost\r\nX-API-Key: k\r\n{name}: {value}\r\n\r\n"
            status, _, body = ask(system, sent.encode())
            assert (status, json.loads(body)["error"]["code"]) == (404, "not_found"), (name, value)
    page = ask(system, b"GET / HTTP/1.1\r\nHost: localhost\r\nSCRIPT_NAME: //evil.example\r\nConnection: close\r\n\r\n")
    assert page[0] == 200
    assert b"evil" not in page[2]


def test_every_kind_of_gunicorns_has_an_answer_of_the_clients_fault() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ParseException)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        refusal = refusal_of(kind.__new__(kind))
        is_ours = kind in (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
        assert refusal.status.startswith("500") == is_ours, kind
    assert refusal_of(ValueError("x")).code == "internal"


def test_a_prefix_in_the_servers_environment_breaks_no_request(
    make_redis: Callable[..., RedisServer],
    make_system: Callable[..., System],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SCRIPT_NAME", "/nope")
    system = make_system(make_redis())
    system.web()
    assert ask(system, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[0] == 200


def test_on_a_loopback_address_only_its_names_are_served_by_default(system: System) -> None:
    for host, path, status in (
        ("localhost", "/", 200),
        ("127.0.0.1:5000", "/", 200),
        ("rebound.example", "/", 421),
        ("rebound.example", "/stats", 421),
        ("rebound.example", "/livez", 200),
    ):
        sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert ask(system, sent.encode())[0] == status, (host, path)
    assert ask(system, b"GET / HTTP/1.0\r\n\r\n")[0] == 200


def test_with_gunicorns_own_command_it_serves_every_name_and_believes_no_prefix(
    make_redis: Callable[..., RedisServer], make_system: Callable[..., System]
) -> None:
    system = make_system(make_redis())
    system.worker()
    system.gunicorn()
    for fields, path, status in (("", "/stats", 200), ("SCRIPT_NAME: /x\r\n", "/x/stats", 404)):
        sent = f"GET {path} HTTP/1.1\r\nHost: images.example.org\r\n{fields}Connection: close\r\n\r\n"
        assert ask(system, sent.encode())[0] == status, path
