"""The application: an id on every answer, and one shape for every error, of ours or not."""

from __future__ import annotations

import io
import logging
import re
import threading

import pytest

from imagequeue.web.app import create_app
from imagequeue.web.classifier import Classifier
from imagequeue.web.decoding.pool import DecoderPool
from tests.support.inprocess import Service
from tests.support.pictures import picture


@pytest.mark.parametrize("sent", ["abc-1", "00-4bf9.2f:3/x=y@z+_", "x" * 128])
def test_a_request_id_that_was_sent_comes_back(service: Service, sent: str) -> None:
    assert service.client.get("/livez", headers={"X-Request-ID": sent}).headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "two words", "a\tb", "ä", '"'])
def test_one_that_could_spoil_a_log_line_is_replaced(service: Service, sent: str) -> None:
    found = service.client.get("/livez", headers={"X-Request-ID": sent}).headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", found)


def test_every_answer_has_its_id_its_time_and_no_type_to_guess(service: Service) -> None:
    for response in (
        service.client.get("/livez"),
        service.client.get("/nowhere"),
        service.client.post("/predict", data=b"no image", content_type="image/png"),
        service.client.post("/predict", data=picture(1), content_type="image/png"),
    ):
        assert response.headers["X-Request-ID"]
        assert "total;dur=" in response.headers["Server-Timing"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
        ("GET", "/%00/../etc/passwd", 404, "not_found"),
        ("GET", "/predict/", 405, "method_not_allowed"),
        ("POST", "/predict//", 404, "not_found"),
        ("POST", "/predict/x", 404, "not_found"),
        ("GET", "/livez/", 404, "not_found"),
        ("GET", "/static/../../settings.py", 404, "not_found"),
    ],
)
def test_what_flask_refuses_has_our_shape(service: Service, method: str, path: str, status: int, code: str) -> None:
    response = service.client.open(path, method=method)
    assert response.status_code == status
    assert response.json["success"] is False
    assert response.json["error"]["code"] == code
    assert response.json["error"]["message"]
    assert response.json["id"] == response.headers["X-Request-ID"]
    assert ("Allow" in response.headers) == (status == 405)


def test_two_slashes_are_no_redirect_to_one(service: Service) -> None:
    for path in ("/static//style.css", "/jobs//x", "/predict//"):
        response = service.client.get(path)
        assert (response.status_code, response.json["error"]["code"]) == (404, "not_found"), path


@pytest.mark.parametrize("path", ["/v1/models/null:nothing", "/v2/nowhere", "/v2/"])
def test_what_flask_refuses_has_the_shape_of_its_protocol(service: Service, path: str) -> None:
    response = service.client.post(path)
    assert (response.status_code, list(response.json)) == (404, ["error"])


def test_what_is_not_there_is_answered_with_the_path_that_people_look_for(service: Service) -> None:
    message = service.client.post("/predict/" + "x" * 500).json["error"]["message"]
    assert "Images go to POST /predict;" in message
    assert len(message) < 200


def test_a_body_beyond_the_limit_is_refused_as_json(service: Service) -> None:
    for kind in ("image/png", "application/json", "multipart/form-data; boundary=x"):
        response = service.client.post("/predict", data=bytes(20 * 2**20), content_type=kind)
        assert (response.status_code, response.json["error"]["code"]) == (413, "too_large")
    response = service.client.post("/v2/models/null/infer", data=bytes(20 * 2**20))
    assert (response.status_code, list(response.json)) == (413, ["error"])


def test_a_refusal_is_logged_with_the_request_its_code_and_its_reason(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "imagequeue"):
        service.client.post("/predict", data=b"no image", content_type="image/png", headers={"X-Request-ID": "r-7"})
    (fields,) = [record.fields for record in caplog.records if record.msg == "refused"]  # type: ignore[attr-defined]
    assert (fields["request"], fields["status"], fields["code"]) == ("r-7", 422, "bad_image")
    assert fields["reason"]


def test_what_nobody_thought_of_is_logged_with_its_traceback_and_never_shown(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise KeyError("a secret of the house")

    monkeypatch.setattr(service.classifier, "classify", broken)
    response = service.client.post(
        "/predict", data=picture(1), content_type="image/png", headers={"X-Request-ID": "r-8"}
    )
    assert (response.status_code, response.json["error"]["code"]) == (500, "internal")
    assert "secret" not in response.text
    assert "r-8" in response.json["error"]["message"]
    (record,) = [record for record in caplog.records if record.msg == "unexpected"]
    assert record.exc_info is not None
    assert record.fields["request"] == "r-8"  # type: ignore[attr-defined]


def test_a_refused_body_is_read_to_its_end_so_that_the_client_hears_the_refusal(service: Service) -> None:
    class Body(io.BytesIO):
        def close(self) -> None:
            """Flask's client closes what it has sent; the test looks at it first."""

    body = Body(bytes(300_000))
    response = service.client.post(
        "/predict",
        input_stream=body,
        content_length=300_000,
        content_type="text/plain",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.status_code == 415
    assert body.tell() == 300_000


def test_making_an_application_starts_nothing() -> None:
    before = threading.active_count()
    create_app(
        Classifier(
            redis_url="redis://127.0.0.1:1/0",
            queue_name="q",
            result_ttl=1,
            max_queue_length=1,
            max_queue_bytes=0,
            timeout=1,
            job_timeout=1,
            poll_interval=1,
            threads=9,
            decoders=DecoderPool(decoders=1, image_size=(8, 8), max_upload_bytes=1, max_image_pixels=1),
        )
    )
    assert threading.active_count() == before
