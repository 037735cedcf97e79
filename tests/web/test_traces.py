"""The trace of a job: every step of its way, who took it, and how the answer was heard of."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import redis

from imagequeue.waiter import Waiter
from imagequeue.web.access import Access
from imagequeue.web.keys import ApiKeys
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.system import eventually

MakeService = Callable[..., Service]
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def send(service: Service, **headers: str) -> str:
    """One picture's id."""
    answer = service.client.post("/predict", data=picture(1), content_type="image/png", headers=headers)
    assert answer.status_code in (200, 202), answer.json
    return str(answer.json["id"])


def trace(service: Service, job_id: str) -> dict[str, Any]:
    found: list[Any] = []

    def is_there() -> bool:
        found[:] = [service.client.get(f"/jobs/{job_id}/trace")]
        return bool(found[0].status_code == 200)

    eventually(is_there, what="the trace, written in the background")
    assert found[0].is_json
    return dict(found[0].json)


def test_every_step_is_there_in_its_order_with_who_took_it(make_service: MakeService) -> None:
    service = make_service(poll_interval=5.0)
    told = trace(service, send(service))
    steps = {step["name"]: step for step in told["steps"]}
    names = ["received", "decoded", "enqueued", "claimed", "predicted", "stored", "published", "woken", "answered"]
    assert list(steps) == names
    instants = [step["at_ms"] for step in told["steps"]]
    assert instants == sorted(instants)
    assert instants[0] == 0
    assert abs(sum(step["ms"] for step in told["steps"]) - told["total_ms"]) < 0.2
    assert steps["claimed"]["worker"].count(":") == 2, "host, pid and incarnation"
    assert (steps["predicted"]["batch"], steps["predicted"]["model"]) == (1, "null")
    assert steps["woken"]["by"] == "message"
    assert (told["status"], told["clock"], told["error"]) == (200, "redis", None)


def test_an_answer_found_by_the_poll_after_the_subscription_was_killed_says_so(
    make_service: MakeService, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen, may_subscribe = Waiter._listen, threading.Event()
    may_subscribe.set()

    def listen_when_allowed(self: Waiter) -> None:
        may_subscribe.wait(timeout=20)
        listen(self)

    monkeypatch.setattr(Waiter, "_listen", listen_when_allowed)
    service = make_service(with_worker=False, poll_interval=0.5)
    client.zadd("{image_queue}:workers", {"a worker that only seems to live": 2**53})
    ids: list[str] = []
    request = threading.Thread(target=lambda: ids.append(send(service)))
    try:
        request.start()
        eventually(lambda: client.llen("image_queue") == 1)
        may_subscribe.clear()
        assert client.client_kill_filter(_type="pubsub") == 1
        eventually(lambda: client.pubsub_channels() == [])
        service.start_worker()
        request.join(timeout=20)
    finally:
        may_subscribe.set()
    steps = {step["name"]: step for step in trace(service, ids[0])["steps"]}
    assert steps["woken"]["by"] == "poll"
    assert steps["woken"]["at_ms"] >= steps["stored"]["at_ms"]


def test_a_job_that_nobody_waits_for_has_the_worker_s_part_too(make_service: MakeService) -> None:
    service = make_service()
    job_id = send(service, Prefer="respond-async")
    eventually(lambda: service.client.get(f"/jobs/{job_id}").json["state"] == "done")
    told = trace(service, job_id)
    assert [step["name"] for step in told["steps"]] == [
        "received",
        "decoded",
        "enqueued",
        "claimed",
        "predicted",
        "stored",
    ]


def test_a_job_whose_deadline_passed_has_a_trace_that_says_so(make_service: MakeService, client: redis.Redis) -> None:
    service = make_service(with_worker=False, timeout=1.0)
    client.zadd("{image_queue}:workers", {"a worker that only seems to live": 2**53})
    answer = service.client.post("/predict", data=picture(1), content_type="image/png")
    assert answer.status_code == 504
    told = trace(service, answer.json["id"])
    assert (told["status"], told["error"]) == (504, "deadline_exceeded")
    assert [step["name"] for step in told["steps"]] == ["received", "decoded", "enqueued", "answered"]


def test_traces_go_with_the_results(make_service: MakeService, client: redis.Redis) -> None:
    service = make_service(result_ttl=30.0)
    job_id = send(service)
    trace(service, job_id)
    assert 0 < client.pttl(f"{{image_queue}}:trace:{job_id}") <= 30_000


def test_switched_off_nothing_is_kept_and_the_path_says_why(make_service: MakeService, client: redis.Redis) -> None:
    service = make_service(is_tracing=False)
    job_id = send(service)
    answer = service.client.get(f"/jobs/{job_id}/trace")
    assert answer.status_code == 404
    assert "TRACES is off" in answer.json["error"]["message"]
    service.classifier.stop()
    assert client.keys("*trace:*") == []


def test_a_job_that_never_was_has_no_trace(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    for job_id in ("0" * 32, "no-id", "0" * 31):
        assert service.client.get(f"/jobs/{job_id}/trace").status_code == 404


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.bars: list[tuple[float, float]] = []
        self.styled: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "rect":
            self.bars.append((float(found["x"]), float(found["width"])))
        if "style" in found or any(name.startswith("on") for name in found) or tag == "style":
            self.styled.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)


def test_a_browser_gets_a_waterfall_that_its_policy_allows(make_service: MakeService) -> None:
    service = make_service()
    job_id = send(service)
    told = trace(service, job_id)
    answer = service.client.get(f"/jobs/{job_id}/trace", headers=HTML)
    assert answer.mimetype == "text/html"
    assert "Accept" in answer.headers["Vary"]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = Page(answer.text)
    assert page.styled == [], "a strict policy drops inline styles and scripts"
    assert len(page.bars) == len(told["steps"])
    for start, width in page.bars:
        assert 0 <= start <= 1000
        assert 0 < width <= 1000
    assert re.search(r"by\s*<b>message</b>", answer.text)
    sheet = service.client.get("/static/trace.css")
    assert sheet.status_code == 200


def test_programs_get_json_whatever_they_accept(make_service: MakeService) -> None:
    service = make_service()
    job_id = send(service)
    trace(service, job_id)
    for accept in ("*/*", "application/json", "text/plain", ""):
        assert service.client.get(f"/jobs/{job_id}/trace", headers={"Accept": accept}).is_json, accept


def test_a_browser_without_a_key_gets_a_page_that_asks_for_it_and_tells_nothing(make_service: MakeService) -> None:
    service = make_service(access=Access(keys=ApiKeys([("ann", "sesame-open-now")])))
    key = {"X-API-Key": "sesame-open-now"}
    job_id = send(service, **key)
    path = f"/jobs/{job_id}/trace"
    eventually(lambda: service.client.get(path, headers=key).status_code == 200)
    asked = service.client.get(path, headers=HTML)
    assert (asked.status_code, asked.mimetype) == (401, "text/html")
    assert asked.headers["WWW-Authenticate"].startswith("Bearer")
    assert "script-src 'self'" in asked.headers["Content-Security-Policy"]
    assert 'id="key"' in asked.text
    assert job_id not in asked.text
    assert "steps" not in asked.text
    assert Page(asked.text).styled == []
    for name in re.findall(r'(?:src|href)="(/static/[^"]*)"', asked.text):
        assert service.client.get(name).status_code == 200, name
    refused = service.client.get(path)
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "unauthorized")
    assert "text/html" in service.client.get(path, headers=HTML | key).content_type
