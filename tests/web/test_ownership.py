"""With several API keys, a client has its own jobs and learns nothing of the others'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from imagequeue.web.access import Access
from imagequeue.web.keys import ApiKeys
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.system import eventually

KEYS = ApiKeys([("alice", "ka"), ("alice", "ka-new"), ("bob", "kb"), ("root", "kr")], admins=["root"])
ALICE, ALICE_LATER, BOB, ROOT = ({"X-API-Key": key} for key in ("ka", "ka-new", "kb", "kr"))
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service(access=Access(keys=KEYS))


@pytest.fixture
def idle(make_service: Callable[..., Service]) -> Service:
    """A service whose only worker does nothing."""
    service = make_service(access=Access(keys=KEYS), with_worker=False)
    service.queue.join("w1", 30.0, {"model": "null", "host": "host-of-w1", "pid": 4711})
    return service


def send(service: Service, key: dict[str, str], number: int = 1, **more: Any) -> TestResponse:
    more.setdefault("headers", {})
    more["headers"] |= key
    return service.client.post("/predict", data=picture(number), content_type="image/png", **more)


def submit(service: Service, key: dict[str, str], number: int = 1) -> str:
    return str(send(service, key, number, headers=dict(ASYNC)).json["id"])


def without_ids(response: TestResponse, job_id: str) -> tuple[int, str, list[str]]:
    text = response.text.replace(response.headers["X-Request-ID"], "REQUEST").replace(job_id, "JOB")
    return response.status_code, text, sorted(name for name, _ in response.headers)


@pytest.mark.parametrize("method", ["get", "delete"])
@pytest.mark.parametrize("what", ["", "/trace"])
def test_somebody_elses_job_is_answered_as_one_that_does_not_exist(service: Service, method: str, what: str) -> None:
    if (method, what) == ("delete", "/trace"):
        return
    job_id, unknown = submit(service, ALICE), "0123456789abcdef" * 2
    eventually(lambda: service.client.get(f"/jobs/{job_id}/trace", headers=ALICE).status_code == 200)
    ask = getattr(service.client, method)
    found = [ask(f"/jobs/{each}{what}", headers=BOB) for each in (job_id, unknown)]
    assert found[0].status_code == 404
    assert without_ids(found[0], job_id) == without_ids(found[1], unknown)
    # As one of Bob's own that is forgotten by now, too.
    own = submit(service, BOB)
    service.queue.client.flushall()
    forgotten = ask(f"/jobs/{own}{what}", headers=BOB)
    assert without_ids(forgotten, own) == without_ids(found[0], job_id)


def test_for_somebody_elses_job_redis_is_not_asked_whether_it_exists(
    idle: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(idle, ALICE)

    def asked(*arguments: object) -> None:
        raise AssertionError("Redis was asked")

    monkeypatch.setattr("imagequeue.web.jobs.jobstate.look_at", asked)
    monkeypatch.setattr("imagequeue.web.jobs.jobstate.cancel", asked)
    monkeypatch.setattr("imagequeue.web.traces.find", asked)
    for each in (job_id, "0123456789abcdef" * 2):
        assert idle.client.get(f"/jobs/{each}", headers=BOB).status_code == 404
        assert idle.client.delete(f"/jobs/{each}", headers=BOB).status_code == 404
        assert idle.client.get(f"/jobs/{each}/trace", headers=BOB).status_code == 404


def test_nobody_cancels_a_job_but_its_owner_and_an_admin(idle: Service) -> None:
    first, second = submit(idle, ALICE, 1), submit(idle, ALICE, 2)
    assert idle.client.delete(f"/jobs/{first}", headers=BOB).status_code == 404
    assert idle.client.get(f"/jobs/{first}", headers=ALICE).json["state"] == "waiting"
    assert idle.client.delete(f"/jobs/{first}", headers=ALICE_LATER).json["error"]["code"] == "cancelled"
    assert idle.client.delete(f"/jobs/{second}", headers=ROOT).json["error"]["code"] == "cancelled"


def test_its_owner_has_the_result_and_the_trace_by_any_of_its_keys_and_on_any_server(
    service: Service, make_service: Callable[..., Service]
) -> None:
    job_id = submit(service, ALICE)
    sibling = make_service(access=Access(keys=KEYS), with_worker=False)
    for server in (service, sibling):
        for key in (ALICE, ALICE_LATER, ROOT):
            eventually(lambda s=server, k=key: s.client.get(f"/jobs/{job_id}", headers=k).json.get("state") == "done")
            eventually(lambda s=server, k=key: s.client.get(f"/jobs/{job_id}/trace", headers=k).status_code == 200)
        assert server.client.get(f"/jobs/{job_id}", headers=BOB).status_code == 404


def test_the_ids_of_answers_and_errors_are_their_owners(service: Service) -> None:
    answers = [send(service, ALICE).json, service.client.post("/predict", data=b"none", headers=ALICE).json]
    for answer in answers:
        state = service.client.get(f"/jobs/{answer['id']}", headers=BOB)
        assert state.status_code == 404
    (alice, bob) = (KEYS.owner_of(_Request(key)) for key in ("ka", "kb"))  # type: ignore[arg-type]
    assert alice.owns(answers[0]["id"])
    assert not bob.owns(answers[0]["id"])


class _Request:
    def __init__(self, key: str) -> None:
        self.headers = {"X-API-Key": key}


def test_the_latest_answers_are_the_callers_own_refusals_too_and_an_admin_sees_all(service: Service) -> None:
    alices, bobs = send(service, ALICE, 1).json["id"], send(service, BOB, 2).json["id"]
    assert service.client.post("/predict", data=b"x", content_type="image/png", headers=BOB).status_code == 422

    def seen(key: dict[str, str]) -> list[tuple[str, int]]:
        return [(found["id"], found["status"]) for found in service.client.get("/stats", headers=key).json["requests"]]

    # In whatever order they ask while one look counts.
    for _ in range(2):
        assert seen(BOB) == [("", 422), (bobs, 200)]
        assert seen(ALICE) == seen(ALICE_LATER) == [(alices, 200)]
        assert seen(ROOT) == [("", 422), (bobs, 200), (alices, 200)]


def test_the_queue_and_the_counters_are_everybodys_and_where_things_run_is_the_admins(idle: Service) -> None:
    send(idle, ALICE, headers=dict(ASYNC))
    eventually(lambda: idle.client.get("/stats", headers=BOB).json["counters"]["enqueued"] == 1)
    ordinary, full = (idle.client.get("/stats", headers=key) for key in (BOB, ROOT))
    assert ordinary.json["depth"] == full.json["depth"] == 1
    assert ordinary.json["live_workers"] == 1
    assert ordinary.json["workers"][0]["model"] == "null"
    assert not {"host", "pid"} & set(ordinary.json["workers"][0])
    assert "host-of-w1" not in ordinary.text
    assert ordinary.json["web_pid"] is None
    assert full.json["web_pid"]
    assert (full.json["workers"][0]["host"], full.json["workers"][0]["pid"]) == ("host-of-w1", 4711)


def test_a_trace_names_hosts_to_an_admin_alone(service: Service) -> None:
    job_id = send(service, ALICE).json["id"]
    eventually(lambda: service.client.get(f"/jobs/{job_id}/trace", headers=ALICE).status_code == 200)
    ordinary, full = (service.client.get(f"/jobs/{job_id}/trace", headers=key).json for key in (ALICE, ROOT))
    assert full["web"] == service.classifier.web_id
    assert full["web"].endswith(ordinary["web"])
    assert ":" not in ordinary["web"]
    workers = [[step["worker"] for step in trace["steps"] if "worker" in step] for trace in (ordinary, full)]
    assert workers[0][0] in workers[1][0]
    assert (":" in workers[0][0], ":" in workers[1][0]) == (False, True)
    assert len(ordinary["steps"]) == len(full["steps"])


def test_an_equal_image_of_somebody_else_is_computed_again_and_has_an_id_of_its_own(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(access=Access(keys=KEYS), cache_seconds=60.0)
    first, again, bobs = (send(service, key).json for key in (ALICE, ALICE_LATER, BOB))
    assert first["id"] == again["id"] != bobs["id"]
    assert bobs["predictions"] == first["predictions"]
    assert service.queue.stats()["enqueued"] == 2
    assert service.client.get(f"/jobs/{bobs['id']}", headers=ALICE).status_code == 404


def test_a_path_that_is_opened_shows_no_job(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = send(service, ALICE).json["id"]
    monkeypatch.setattr("imagequeue.web.access.OPEN_PREFIXES", ("/jobs/", "/stats"))
    assert service.client.get(f"/jobs/{job_id}").status_code == 404
    assert service.client.delete(f"/jobs/{job_id}").status_code == 404
    assert service.client.get("/stats").json["requests"] == []


def test_without_keys_whoever_knows_an_id_may_ask(make_service: Callable[..., Service]) -> None:
    service = make_service()
    job_id = submit(service, {})
    eventually(lambda: service.client.get(f"/jobs/{job_id}").json["state"] == "done")
    assert service.client.get("/stats").json["requests"][0]["id"] == job_id
