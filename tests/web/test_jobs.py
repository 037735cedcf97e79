"""`Prefer: respond-async` and /jobs/<id>: sent now, asked for later, by anyone who knows the id."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from imagequeue.events import LOGGER
from imagequeue.waiter import FORGET_AFTER
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.system import eventually

MakeService = Callable[..., Service]
ASYNC = {"Prefer": "respond-async"}


def send(service: Service, number: int = 1, query: str = "", **headers: str) -> TestResponse:
    return service.client.post(
        f"/predict{query}", data=picture(number), content_type="image/png", headers=ASYNC | headers
    )


def job(service: Service, location: str) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get(location).json
    return found


def test_the_job_is_accepted_at_once_and_done_later(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    service.start_worker()
    accepted = send(service, 7, "?top=2")
    assert accepted.status_code == 202
    assert accepted.headers["Preference-Applied"] == "respond-async"
    location = accepted.headers["Location"]
    assert location == f"/jobs/{accepted.json['id']}" == accepted.json["location"]
    eventually(lambda: job(service, location)["state"] == "done")
    done = job(service, location)
    assert done["success"] is True
    assert done["id"] == accepted.json["id"]
    assert done["model"] == "null"
    assert len(done["predictions"]) == 2
    assert done["predictions"][0] == {"label": null_label(picture(7), SIZE), "probability": 1.0}


def test_it_waits_then_is_claimed_and_tells_when_to_ask_again(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    service.queue.join("w1", 30.0, {"model": "null"})
    location = send(service).headers["Location"]
    response = service.client.get(location)
    assert response.json["state"] == "waiting"
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["Cache-Control"] == "no-store"
    service.queue.claim("w1", lease_seconds=30.0, token="t", limit=1)
    assert job(service, location)["state"] == "claimed"


def test_a_result_stays_although_it_was_read_and_nothing_is_left_of_the_job(make_service: MakeService) -> None:
    service = make_service()
    location = send(service).headers["Location"]
    eventually(lambda: job(service, location)["state"] == "done")
    assert job(service, location) == job(service, location)
    redis, job_id = service.queue.client, location.removeprefix("/jobs/")
    left = redis.pttl(service.queue.key(f"result:{job_id}"))
    assert left > 10 * FORGET_AFTER * 1000, "as long as the worker's result_ttl says"
    assert service.classifier._waiter._outstanding == {}
    assert not service.classifier._waiter._delivered, "nothing is going to delete it earlier"


def test_a_cancelled_job_has_failed_and_says_so(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    service.queue.join("w1", 30.0, {"model": "null"})
    location = send(service).headers["Location"]
    for response in (service.client.delete(location), service.client.get(location), service.client.delete(location)):
        assert response.status_code == 200
        assert response.json["success"] is False
        assert (response.json["state"], response.json["error"]["code"]) == ("failed", "cancelled")
    assert service.queue.claim("w1", lease_seconds=30.0, token="t", limit=1) == []


def test_what_is_done_cannot_be_cancelled(make_service: MakeService) -> None:
    service = make_service()
    location = send(service).headers["Location"]
    eventually(lambda: job(service, location)["state"] == "done")
    response = service.client.delete(location)
    assert (response.status_code, response.json["state"]) == (200, "done")


@pytest.mark.parametrize("job_id", ["0123456789abcdef" * 2, "x", "0" * 31, "A" * 32, "0" * 33])
def test_an_unknown_job_is_not_found(make_service: MakeService, job_id: str) -> None:
    service = make_service(with_worker=False)
    for response in (service.client.get(f"/jobs/{job_id}"), service.client.delete(f"/jobs/{job_id}")):
        assert response.status_code == 404
        assert response.json["error"]["code"] == "not_found"


def test_several_images_are_several_jobs_and_a_bad_one_spoils_none(make_service: MakeService) -> None:
    service = make_service()
    form = {
        "image": [
            (io.BytesIO(picture(1)), "a.png"),
            (io.BytesIO(b"no image"), "b.png"),
            (io.BytesIO(picture(2)), "c.png"),
        ]
    }
    response = service.client.post("/predict", data=form, headers=ASYNC)
    assert response.status_code == 202
    assert "Location" not in response.headers
    first, bad, second = response.json["results"]
    assert bad["error"]["code"] == "bad_image"
    for number, accepted in ((1, first), (2, second)):
        eventually(lambda accepted=accepted: job(service, accepted["location"])["state"] == "done")
        label = job(service, accepted["location"])["predictions"][0]["label"]
        assert label == null_label(picture(number), SIZE)


def test_a_bad_image_is_refused_at_once(make_service: MakeService) -> None:
    response = make_service().client.post("/predict", data=b"no image", content_type="image/png", headers=ASYNC)
    assert (response.status_code, response.json["error"]["code"]) == (422, "bad_image")


def test_it_counts_against_the_same_limits_of_the_queue(make_service: MakeService) -> None:
    service = make_service(with_worker=False, max_queue_length=1)
    assert send(service).json["error"]["code"] == "no_workers"
    service.queue.join("w1", 30.0, {"model": "null"})
    # A refusal is remembered for a moment, for everyone.
    eventually(lambda: send(service).status_code == 202)
    full = send(service, 2)
    assert (full.status_code, full.json["error"]["code"]) == (503, "queue_full")
    assert int(full.headers["Retry-After"]) >= 1


def test_it_has_a_deadline_of_its_own(make_service: MakeService) -> None:
    service = make_service(with_worker=False, timeout=10.0, job_timeout=0.05)
    service.queue.join("w1", 30.0, {"model": "null"})
    location = send(service).headers["Location"]
    eventually(lambda: job(service, location)["state"] == "failed")
    assert job(service, location)["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    "preference", ["return=minimal, respond-async", "Respond-Async; foo=bar", "wait=5,respond-async"]
)
def test_the_preference_is_found_among_others(make_service: MakeService, preference: str) -> None:
    service = make_service()
    response = send(service, Prefer=preference)
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "respond-async")


@pytest.mark.parametrize("preference", ["", "wait=10", "respond-asynchronously", 'x="respond-async"'])
def test_without_it_the_answer_is_waited_for(make_service: MakeService, preference: str) -> None:
    response = send(make_service(), Prefer=preference)
    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers


def test_a_trace_goes_on_from_the_request_into_the_log_and_the_answer(
    make_service: MakeService, log_lines: list[tuple[str, dict[str, Any]]]
) -> None:
    service = make_service()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = f"00-{trace}-00f067aa0ba902b7-01"
    response = service.client.post(
        "/predict", data=picture(1), content_type="image/png", headers={"traceparent": sent, "X-Request-ID": "mine"}
    )
    assert response.headers["X-Request-ID"] == "mine"
    version, trace_id, span, flags = response.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", trace, "01")
    assert span != "00f067aa0ba902b7"
    for action in ("received", "enqueued", "answered"):
        (fields,) = [fields for found, fields in log_lines if found == action]
        assert (fields["request"], fields["trace"]) == ("mine", trace), action


def test_the_time_of_each_stage_is_in_server_timing(make_service: MakeService) -> None:
    service = make_service()
    waited = service.client.post("/predict", data=picture(1), content_type="image/png")
    names = [span.partition(";")[0] for span in waited.headers["Server-Timing"].split(", ")]
    assert names == ["decode", "queue", "inference", "total"]
    assert [span.partition(";")[0] for span in send(service).headers["Server-Timing"].split(", ")] == [
        "decode",
        "total",
    ]


@pytest.fixture
def log_lines() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """(action, fields) of each line that is logged."""
    lines: list[tuple[str, dict[str, Any]]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((str(record.msg), getattr(record, "fields", {})))

    keep, level = Keep(), LOGGER.level
    LOGGER.addHandler(keep)
    LOGGER.setLevel(logging.INFO)
    yield lines
    LOGGER.removeHandler(keep)
    LOGGER.setLevel(level)
