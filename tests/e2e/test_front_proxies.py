"""nginx and Caddy in front, each configured as docs/security.md says: what gets through, and what does not."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.attacks.wire import Address, Reply, ask, read
from tests.conftest import KINDS, redis_binary
from tests.support.frontproxy import HOST, FrontProxy, find
from tests.support.frontproxy import KINDS as PROXIES
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.scrape import scrape
from tests.support.system import System, eventually

MAX_UPLOAD_BYTES = 10 * 2**20
# Of each address; no test sends as many from one, but for the one that counts them.
LIMIT = 6
IMAGE, CLOSE = "Content-Type: image/png", "Connection: close"
INSIDE = ("metrics", "stats", "dashboard")
# What each of them says and nothing else does.
SIGNS = (b"imagequeue_http_requests", b'"counters"', b"<title>Dashboard")
# Other ways to write the path of something that is denied; {} is its name.
SPELLINGS = (
    "/{}",
    "/{}/",
    "/{}//",
    "//{}",
    "/./{}",
    "/{}/.",
    "/{}/x/..",
    "/x/../{}",
    "/x/..%2f{}",
    "/%2e/{}",
    "/%2f{}",
    "/{}%2f",
    "/{}%20",
    "/{}%00",
    "/{}%3f",
    "/{};x",
    "/x/..;/{}",
    "/{}.",
    "/{}?x=1",
    "/{}?/x",
    "/\\{}",
    "https://" + HOST + "/{}",
    "https://" + HOST + "//{}",
    "http://127.0.0.1/{}",
    "http://user@" + HOST + "/%2e/{}",
)
# Headers by which some servers and proxies take another path than the one that was asked for.
REWRITES = ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path", "PATH_INFO", "Path-Info")


class Front(NamedTuple):
    """A system behind a proxy. direct: past it."""

    system: System
    proxy: FrontProxy
    address: Address
    direct: Address


_SOURCES = itertools.count(10)


@pytest.fixture
def source() -> str:
    """An address of its own for each test: RATE_LIMIT counts by it."""
    return f"127.0.2.{next(_SOURCES)}"


@pytest.fixture(scope="module", params=PROXIES)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if find(request.param) is None:
        reason = f"no {request.param}, or no openssl"
        if os.environ.get("CI"):
            pytest.fail(reason + "; CI must have one")
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as ended:
        server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
        ended.callback(server.remove)
        system = System(
            server.url, directory, TRUSTED_PROXIES=1, RATE_LIMIT=f"{LIMIT}/minute", ALLOWED_HOSTS=f"{HOST},127.0.0.1"
        )
        ended.callback(system.stop)
        system.start()
        direct = Address(int(system.url.rpartition(":")[2]))
        proxy = FrontProxy(request.param, upstream=direct.port, directory=directory / "proxy")
        ended.callback(proxy.stop)
        yield Front(system, proxy, Address(proxy.port, HOST, is_tls=True), direct)


def predict(front: Front, source: str, *fields: str, body: bytes | None = None) -> Reply:
    request = front.address.post("/predict?top=1", body or picture(1), IMAGE, CLOSE, *fields)
    return ask(front.address, request, source=source, timeout=30)


def is_inside(reply: Reply) -> bool:
    return any(sign in reply.body for sign in SIGNS)


def in_flight(front: Front) -> float:
    return scrape(f"{front.system.url}/metrics").value("http_requests_in_flight")


def test_an_image_is_answered_and_the_answers_headers_come_through(front: Front, source: str) -> None:
    reply = predict(front, source, "X-Request-ID: from-afar")
    assert reply.status == 200
    assert json.loads(reply.body)["predictions"]
    assert reply.headers["X-Request-ID"] == "from-afar"
    assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert ask(front.address, front.address.head("GET", "/livez", CLOSE)).status == 200


def test_what_is_inside_is_served_to_nobody_outside_however_its_path_is_written(front: Front) -> None:
    for name in INSIDE:
        assert is_inside(ask(front.direct, front.direct.head("GET", f"/{name}", CLOSE))), f"{name} has no sign"
        assert ask(front.address, front.address.head("GET", f"/{name}", CLOSE)).status == 403
    targets = [spelling.format(name) for spelling in SPELLINGS for name in (*INSIDE, "METRICS", "Stats")]
    # Every letter, and one of them, as its number.
    targets += ["/" + "".join(f"%{ord(letter):02x}" for letter in name) for name in INSIDE]
    targets += [f"/%{ord(name[0]):02X}{name[1:]}" for name in INSIDE]
    # One connection after the other, each for as many as the proxy takes: some of these it answers and hangs up.
    left = list(reversed(targets))
    leaked: list[str] = []
    while left:
        with front.address.connect() as connection, contextlib.suppress(OSError, http.client.HTTPException):
            while left:
                target = left.pop()
                connection.sendall(front.address.head("GET", target))
                if is_inside(read(connection)):
                    leaked.append(target)
    assert leaked == []


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "get"])
def test_another_method_leads_nowhere_else(front: Front, method: str) -> None:
    for name in INSIDE:
        reply = ask(front.address, front.address.head(method, f"/{name}", CLOSE, "Content-Length: 0"))
        # Caddy and nginx judge by the path; what is no method at all is refused before.
        assert reply.status in (400, 403, 405), (method, name, reply)
        assert not is_inside(reply)


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script_Name", "script_name"])
def test_a_prefix_that_the_client_claims_leads_nowhere_else(front: Front, name: str) -> None:
    for inside in INSIDE:
        reply = ask(front.address, front.address.head("GET", f"/x/{inside}", f"{name}: /x", CLOSE))
        assert not is_inside(reply), inside
    assert ask(front.address, front.address.head("GET", "/livez", f"{name}: /nope", CLOSE)).status == 200


@pytest.mark.parametrize("header", REWRITES)
def test_a_header_that_names_another_path_leads_nowhere_else(front: Front, header: str) -> None:
    for name in INSIDE:
        for value in (f"/{name}", f"https://{HOST}/{name}"):
            assert not is_inside(ask(front.address, front.address.head("GET", "/livez", f"{header}: {value}", CLOSE)))


def test_what_the_client_says_of_its_address_is_not_believed(front: Front, source: str) -> None:
    answers = [predict(front, source, f"X-Forwarded-For: 203.0.113.{number}") for number in range(LIMIT + 1)]
    assert [reply.status for reply in answers] == [200] * LIMIT + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    # Nobody else is counted with it: neither the next address nor the one that it claimed to be.
    assert predict(front, source.replace("127.0.2.", "127.0.3.")).status == 200


def test_an_upload_of_the_largest_size_passes_and_a_larger_one_is_refused(front: Front, source: str) -> None:
    # One byte less: as many as MAX_UPLOAD_BYTES are refused, too.
    largest = picture(2) + bytes(MAX_UPLOAD_BYTES - len(picture(2)) - 1)
    assert predict(front, source, body=largest).status == 200
    assert predict(front, source, body=largest + b"xx").status == 413
    document = json.dumps({"image": base64.b64encode(largest).decode()}).encode()
    request = front.address.post("/predict?top=1", document, "Content-Type: application/json", CLOSE)
    assert ask(front.address, request, source=source, timeout=30).status == 200


def test_a_body_beyond_the_proxys_limit_is_refused_with_and_without_its_length(front: Front, source: str) -> None:
    body = bytes(15 * 2**20)
    # Before a byte of it is sent.
    declared = front.address.head("POST", "/predict", IMAGE, f"Content-Length: {len(body)}")
    assert ask(front.address, declared, source=source).status == 413
    head = front.address.head("POST", "/predict", IMAGE, CLOSE, "Transfer-Encoding: chunked")
    chunked = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert ask(front.address, chunked, source=source, timeout=30).status == 413


def test_a_slow_upload_is_taken_in_by_the_proxy_and_costs_the_service_nothing_meanwhile(
    front: Front, source: str
) -> None:
    upload = picture(3) + bytes(50_000)
    half = len(upload) // 2
    # The one that reads it.
    quiet = 1
    eventually(lambda: in_flight(front) == quiet, what="nobody else is served")
    # Past the proxy it is in the service's hands from its head on.
    with front.direct.connect() as slow:
        slow.sendall(front.direct.post("/predict", upload, IMAGE)[:-half])
        eventually(lambda: in_flight(front) > quiet, what="in flight")
    eventually(lambda: in_flight(front) == quiet, what="its client has gone")
    with front.address.connect(source=source) as slow:
        slow.sendall(front.address.post("/predict", upload, IMAGE)[:-half])
        # So long as others take, the proxy had time to hand it on.
        assert predict(front, source).status == 200
        assert predict(front, source).status == 200
        assert in_flight(front) == quiet
        slow.sendall(upload[-half:])
        slow.settimeout(30)
        assert read(slow, "POST").status == 200


def test_a_client_that_hangs_up_is_gone_for_the_service_too(front: Front, source: str) -> None:
    web, (worker,) = front.system.webs[0], front.system.workers
    before = len(web.lines("client_gone"))
    worker.signal(signal.SIGSTOP)
    try:
        sent = len(web.lines("enqueued"))
        with front.address.connect(source=source) as impatient:
            impatient.sendall(front.address.post("/predict", picture(4), IMAGE))
            eventually(lambda: len(web.lines("enqueued")) > sent)
        eventually(lambda: len(web.lines("client_gone")) > before)
    finally:
        worker.signal(signal.SIGCONT)
    eventually(lambda: predict(front, source).status == 200)


def test_http_2_works(front: Front, source: str, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None or not re.search(r"\bHTTP2\b", subprocess.run([curl, "-V"], capture_output=True, text=True).stdout):
        pytest.skip("no curl that speaks HTTP/2")
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(5))
    resolved = f"{HOST}:{front.proxy.port}:127.0.0.1"
    how = (
        curl,
        "--http2",
        "-sS",
        "--cacert",
        str(front.proxy.certificate),
        "--resolve",
        resolved,
        "--interface",
        source,
    )
    what = ("-w", "\n%{http_version}", "-F", f"image=@{photo}", f"{front.proxy.url}/predict?top=1")
    done = subprocess.run([*how, *what], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    body, _, version = done.stdout.rpartition("\n")
    assert version == "2"
    assert json.loads(body)["predictions"]
