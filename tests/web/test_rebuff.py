"""A refusal that is written without the application says what the application would have said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser

import pytest
from prometheus_client import generate_latest

from imagequeue.errors import QueueFull
from imagequeue.web.access import Access
from imagequeue.web.keys import ApiKeys
from imagequeue.web.rebuff import CLASSIFYING, Rebuff, Rebuffs
from tests.support.inprocess import Service
from tests.support.scrape import Scrape

MakeService = Callable[..., Service]
FULL = QueueFull("The queue is full: 7 images wait.", retry_after=9)
PATHS = ["/predict", "/predict/", "/v1/models/null:predict", "/v1/models/null:classify", "/v2/models/null/infer"]


def request(path: str, *fields: str, body: bytes = b"body", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def rebuff(service: Service, received: bytes) -> Rebuff | None:
    rebuffs: Rebuffs = service.app.extensions["rebuffs"]
    return rebuffs.rebuff(received, FULL, time.monotonic())


def parsed(answer: bytes) -> tuple[str, Message, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    return line.decode(), BytesParser().parsebytes(fields + b"\r\n\r\n"), body


@pytest.mark.parametrize("origins", [[], ["*"], ["https://photos.example"]], ids=["alone", "all", "one"])
@pytest.mark.parametrize("path", PATHS)
def test_it_is_the_applications_own_answer(path: str, origins: list[str], make_service: MakeService) -> None:
    service = make_service(cors_origins=origins)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = rebuff(service, request(path, "X-Request-ID: r-1", f"traceparent: {trace}"))
    assert found is not None
    line, fields, body = parsed(found.answer)
    # One that is remembered stands for a moment only.
    service.classifier.door.standing_refusal = lambda: FULL  # type: ignore[method-assign]
    headers = {"X-Request-ID": "r-1", "traceparent": trace}
    expected = service.client.post(path, data=b"body", headers=headers)
    assert line == "HTTP/1.1 503 Service Unavailable"
    assert json.loads(body) == expected.json
    assert len(body) == int(fields["Content-Length"])
    own = {"Date", "Server", "Connection"}
    assert set(fields) - own == {name for name, _ in expected.headers}
    for name, value in expected.headers:
        if name not in ("Server-Timing", "traceparent", "Content-Length"):
            assert fields[name] == value, name
    assert fields["traceparent"].split("-")[1] == trace.split("-")[1]
    assert (fields["Connection"], fields["Retry-After"]) == ("close", "9")


def test_every_view_that_refuses_has_its_rebuff_and_no_other_view_has(make_service: MakeService) -> None:
    service = make_service()
    service.classifier.door.standing_refusal = lambda: FULL  # type: ignore[method-assign]
    rules = [rule for rule in service.app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    refused = set()
    for rule in rules:
        path = rule.rule.replace("<model:name>", "null").replace("<name>", "null")
        path = path.replace("<model:version>", "1").replace("<version>", "1")
        is_refused = service.client.post(path, data=b"").status_code == 503
        assert (rebuff(service, request(path)) is not None) == is_refused, path
        refused |= {rule.endpoint} if is_refused else set()
    assert refused == CLASSIFYING


@pytest.mark.parametrize(
    "received",
    [
        request("/predict", method="GET"),
        request("/nowhere"),
        request("http://x/predict"),
        request("/predict", "no field"),
        request("/predict", "Name : value"),
        request("/predict", " folded: value"),
        b"POST /predict\r\n\r\n",
        b"POST /predict HTTP/2.0\r\n\r\n",
        b"POST  /predict HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_odd_is_for_the_application_to_answer(received: bytes, service: Service) -> None:
    assert rebuff(service, received) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("field", [b"X:" + b" " * 30_000 + b"\nx", b"X: a" + b" \t" * 15_000 + b"b", b"X:\r\n" * 8_000])
def test_no_head_takes_long_to_look_at(field: bytes, service: Service) -> None:
    # The event loop does it, so all others would wait; a pattern that tries twice would take for ever.
    received = b"POST /predict HTTP/1.1\r\nHost: x\r\n" + field + b"\r\nContent-Length: 0\r\n\r\n"
    for _ in range(20):
        service.app.extensions["rebuffs"].rebuff(received, QueueFull("The queue is full."), 0.0)


def test_a_query_and_percent_signs_are_nothing_special(service: Service) -> None:
    assert rebuff(service, request("/predict?top=3")) is not None
    assert rebuff(service, request("/v1/models/null%3Apredict")) is not None


def test_nobody_sends_a_header_of_ours(service: Service) -> None:
    found = rebuff(service, request("/predict", "X-Request-ID: a b", "traceparent: 00-x\x0bSet-Cookie: a"))
    assert found is not None
    _, fields, body = parsed(found.answer)
    assert json.loads(body)["id"] == fields["X-Request-ID"] != "a b"
    assert "Set-Cookie" not in fields


def test_it_is_known_whether_more_of_the_request_will_come(service: Service) -> None:
    for received, is_all_here in (
        (request("/predict"), True),
        (request("/predict")[:-1], False),
        (request("/predict", "Expect: 100-continue")[: -len(b"body")], False),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
    ):
        found = rebuff(service, received)
        assert found is not None
        assert found.is_all_here == is_all_here, received


def test_strangers_hear_that_they_are_strangers_and_nothing_of_the_queue(
    make_service: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service(with_worker=False, access=Access(keys=ApiKeys([("alice", "correct-horse")])))
    assert rebuff(service, request("/predict")) is None
    assert rebuff(service, request("/predict", "X-API-Key: wrong")) is None
    assert rebuff(service, request("/predict", "Authorization: Bearer correct-horse")) is not None
    service.app.extensions["rebuffs"].account()
    (record,) = [record for record in caplog.records if record.msg == "refused"]
    assert record.fields["client"] == "alice"  # type: ignore[attr-defined]
    assert "correct-horse" not in str(record.__dict__)


def test_where_other_origins_may_call_the_application_answers_them(make_service: MakeService) -> None:
    shared = make_service(with_worker=False, cors_origins=["https://photos.example"])
    assert rebuff(shared, request("/predict", "Origin: https://photos.example")) is None
    assert rebuff(shared, request("/predict")) is not None
    alone = make_service(with_worker=False)
    assert rebuff(alone, request("/predict", "Origin: https://photos.example")) is not None


def test_each_is_logged_and_counted(make_service: MakeService, caplog: pytest.LogCaptureFixture) -> None:
    service = make_service(with_worker=False)
    rebuffs: Rebuffs = service.app.extensions["rebuffs"]
    for number in range(3):
        assert rebuff(service, request("/predict", f"X-Request-ID: r-{number}"))
    assert rebuffs.is_accounting_due
    rebuffs.account()
    assert not rebuffs.is_accounting_due
    told = [record.fields for record in caplog.records if record.msg == "refused"]  # type: ignore[attr-defined]
    assert [fields["request"] for fields in told] == ["r-0", "r-1", "r-2"]
    assert {(fields["status"], fields["code"], fields["reason"]) for fields in told} == {
        (503, "queue_full", FULL.message)
    }
    counted = Scrape(generate_latest(service.app.extensions["metrics"].registry()).decode())
    assert counted.value("http_refused_total", reason="queue_full") == 3
    assert counted.value("http_requests_total", route="/predict", code="503") == 3


def test_while_the_account_is_behind_the_application_refuses(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(with_worker=False)
    monkeypatch.setattr("imagequeue.web.rebuff.MAX_UNACCOUNTED", 2)
    assert [rebuff(service, request("/predict")) is not None for _ in range(3)] == [True, True, False]
    service.app.extensions["rebuffs"].account()
    assert rebuff(service, request("/predict")) is not None
