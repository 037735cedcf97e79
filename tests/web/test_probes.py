"""A probe that the event loop answers is answered as the application would have answered it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from unittest.mock import Mock

import pytest
from prometheus_client import generate_latest

from imagequeue.web import probes
from imagequeue.web.probes import ALIVE, READY, Probe, Probes, Readiness
from tests.support.inprocess import Service
from tests.support.scrape import Scrape
from tests.support.system import eventually

MakeService = Callable[..., Service]


def request(path: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *fields, "", ""]).encode("latin-1")


def probes_of(service: Service) -> Probes:
    extensions = service.app.extensions
    return Probes(extensions["rebuffs"], extensions["metrics"], service.classifier.why_not_ready)


def parsed(answer: bytes) -> tuple[str, Message, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    return line.decode(), BytesParser().parsebytes(fields + b"\r\n\r\n"), body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reason", ["", "no worker"])
@pytest.mark.parametrize("path", [*ALIVE, *READY])
def test_it_is_the_applications_own_answer(path: str, reason: str, method: str, service: Service) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-ID": "r-1", "traceparent": trace}
    answering = probes_of(service)
    probe = answering.probe(request(path, *(f"{k}: {v}" for k, v in headers.items()), method=method))
    assert probe is not None
    told = reason if probe.asks_for_readiness else ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.classifier, "why_not_ready", lambda: reason)
        expected = service.client.open(path, method=method, headers=headers)
    line, fields, body = parsed(answering.answer(probe, is_kept=True, reason=told))
    assert line == f"HTTP/1.1 {expected.status}".replace("SERVICE UNAVAILABLE", "Service Unavailable")
    assert body == expected.data
    own = {"Date", "Server", "Connection"}
    assert set(fields) - own == {name for name, _ in expected.headers}
    for name, value in expected.headers:
        if name not in ("Server-Timing", "traceparent"):
            assert fields[name] == value, name
    assert fields["traceparent"].split("-")[1] == trace.split("-")[1]


@pytest.mark.parametrize(
    "received",
    [
        request("/livez", method="POST"),
        request("/livez/"),
        request("/livezz"),
        request("/predict"),
        request("http://x/livez"),
        request("/livez", "Content-Length: 5"),
        request("/livez", "Transfer-Encoding: chunked"),
        request("/livez", "Expect: 100-continue"),
        request("/livez", "Upgrade: h2c"),
        request("/livez", "no field"),
        request("/livez", " folded: value"),
        request("/livez", version="2.0"),
        b"GET /livez\r\n\r\n",
    ],
)
def test_what_is_odd_is_for_the_application_to_answer(received: bytes, service: Service) -> None:
    assert probes_of(service).probe(received) is None


def test_where_other_origins_may_call_the_application_answers_them(make_service: MakeService) -> None:
    shared = make_service(with_worker=False, cors_origins=["https://photos.example"])
    assert probes_of(shared).probe(request("/livez", "Origin: https://photos.example")) is None
    assert probes_of(shared).probe(request("/livez")) is not None


@pytest.mark.parametrize("path", ["/livez", "/images/livez"])
def test_below_a_prefix_and_where_origins_are_listed_it_is_the_applications_answer_too(
    path: str, make_service: MakeService
) -> None:
    service = make_service(with_worker=False, cors_origins=["https://photos.example"], root_path="/images")
    answering = probes_of(service)
    probe = answering.probe(request(path))
    assert probe is not None
    expected = service.client.get(path)
    line, fields, body = parsed(answering.answer(probe, is_kept=True))
    assert (line, body) == ("HTTP/1.1 200 OK", expected.data)
    assert set(fields) - {"Date", "Server", "Connection"} == {name for name, _ in expected.headers}
    assert fields["Vary"] == "Origin"
    assert answering.probe(request("/image/livez")) is None


@pytest.mark.parametrize(
    ("version", "fields", "is_kept"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: close"], False),
        ("1.0", [], False),
        ("1.0", ["Connection: Keep-Alive"], True),
    ],
)
def test_a_connection_is_kept_as_its_client_wants_it(
    version: str, fields: list[str], is_kept: bool, service: Service
) -> None:
    probe = probes_of(service).probe(request("/livez?now", *fields, version=version))
    assert probe is not None
    assert probe.is_kept == is_kept
    line, found, _ = parsed(probes_of(service).answer(probe, is_kept=is_kept))
    assert line == f"HTTP/{version} 200 OK"
    assert found["Connection"] == ("keep-alive" if is_kept else "close")


def test_each_is_counted_and_a_refusal_is_logged_as_the_applications_own(
    make_service: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service(with_worker=False)
    answering = probes_of(service)
    for path in ("/livez", "/readyz", "/v2/health/ready"):
        probe = answering.probe(request(path, "X-Request-ID: r-1"))
        assert probe is not None
        answering.answer(probe, is_kept=True, reason="redis" if path in READY else "")
    service.app.extensions["rebuffs"].account()
    counted = Scrape(generate_latest(service.app.extensions["metrics"].registry()).decode())
    assert counted.value("http_requests_total", route="/livez", code="200") == 1
    assert counted.value("http_requests_total", route="/readyz", code="503") == 1
    assert counted.value("http_requests_total", route="/v2/health/ready", code="503") == 1
    (record,) = [record for record in caplog.records if record.msg == "refused"]
    fields = record.fields  # type: ignore[attr-defined]
    assert (fields["request"], fields["reason"]) == ("r-1", "Not ready: redis.")


def probe_of(came: float) -> Probe:
    return Probe(Mock(), "/readyz", 1, came)


def test_readiness_is_found_out_once_for_all_who_came_meanwhile() -> None:
    asked = threading.Semaphore(0)
    found_out = threading.Semaphore(0)
    deferred: list[Callable[[], object]] = []
    answers: list[tuple[object, str]] = []

    def why_not_ready() -> str:
        asked.release()
        assert found_out.acquire(timeout=20)
        return "no worker"

    readiness = Readiness(
        why_not_ready,
        lambda call, *arguments: deferred.append(lambda: call(*arguments)),
        lambda conn, probe, reason: answers.append((conn, reason)),
    )
    for number in range(3):
        readiness.ask(number, probe_of(time.monotonic()))  # type: ignore[arg-type]
    assert asked.acquire(timeout=20)
    found_out.release()
    eventually(lambda: deferred)
    assert not asked.acquire(blocking=False)
    deferred.pop()()
    assert answers == [(0, "no worker"), (1, "no worker"), (2, "no worker")]
    # The next one is told what is true then.
    readiness.ask(3, probe_of(time.monotonic()))  # type: ignore[arg-type]
    assert asked.acquire(timeout=20)
    found_out.release()
    eventually(lambda: deferred)


def test_who_waits_for_a_redis_that_is_silent_is_told_so() -> None:
    answers: list[tuple[object, str]] = []
    ending = threading.Event()

    def silent() -> str:
        ending.wait(20)
        return ""

    readiness = Readiness(
        silent,
        lambda call, *arguments: None,
        lambda conn, probe, reason: answers.append((conn, reason)),
    )
    now = time.monotonic()
    readiness.ask("early", probe_of(now - probes.READINESS_SECONDS - 1))  # type: ignore[arg-type]
    readiness.ask("late", probe_of(now))  # type: ignore[arg-type]
    readiness.sweep(now)
    assert answers == [("early", "redis")]
    ending.set()


def test_an_answer_is_json_with_a_line_end(service: Service) -> None:
    answering = probes_of(service)
    probe = answering.probe(request("/v2/health/live"))
    assert probe is not None
    _, fields, body = parsed(answering.answer(probe, is_kept=True))
    assert json.loads(body) == {"live": True}
    assert int(fields["Content-Length"]) == len(body)
