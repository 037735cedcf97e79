"""POST /predict: one image or several in, labels out, in the tutorial's form and in JSON."""

from __future__ import annotations

import base64
import io
import socket
import threading
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from imagequeue.errors import JobFailed
from imagequeue.job import Job, Result
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.system import eventually

MakeService = Callable[..., Service]


def send(service: Service, image: bytes, query: str = "") -> TestResponse:
    return service.client.post(f"/predict{query}", data=image, content_type="image/png")


def send_form(service: Service, *images: bytes) -> TestResponse:
    return service.client.post("/predict", data={"image": [(io.BytesIO(image), "x.png") for image in images]})


def label(image: bytes) -> str:
    return null_label(image, SIZE)


def test_the_three_forms_of_one_image_get_the_same_answer(service: Service) -> None:
    image = picture(1)
    responses = [
        send(service, image),
        send_form(service, image),
        service.client.post("/predict", json={"image": base64.b64encode(image).decode()}),
    ]
    for response in responses:
        document = response.json
        assert response.status_code == 200
        assert list(document) == ["success", "predictions", "id", "model"]
        assert (document["success"], document["model"]) == (True, "null")
        assert document["predictions"][0] == {"label": label(image), "probability": 1.0}
        assert len(document["predictions"]) == 5
    assert len({response.json["id"] for response in responses}) == 3


def test_a_slash_behind_the_path_changes_nothing(service: Service) -> None:
    response = service.client.post("/predict/?top=1", data=picture(1), content_type="image/png")
    assert (response.status_code, response.json["predictions"]) == (
        200,
        [{"label": label(picture(1)), "probability": 1.0}],
    )


@pytest.mark.parametrize(("query", "count"), [("", 5), ("?top=1", 1), ("?top=17", 17), ("?top=01000", 1000)])
def test_as_many_labels_come_back_as_are_asked_for(service: Service, query: str, count: int) -> None:
    assert len(send(service, picture(2), query).json["predictions"]) == count


@pytest.mark.parametrize("top", ["0", "1001", "-1", "x", "", "1.0", "00000000000000005", "0000000019999", "²"])
def test_a_top_that_is_none_is_refused(service: Service, top: str) -> None:
    response = send(service, picture(2), f"?top={top}")
    assert (response.status_code, response.json["error"]["code"]) == (400, "bad_request")
    assert "1 to 1000" in response.json["error"]["message"]


def test_several_images_get_their_answers_in_order(service: Service) -> None:
    images = [picture(n) for n in range(12)]
    results = send_form(service, *images).json["results"]
    assert [result["predictions"][0]["label"] for result in results] == [label(image) for image in images]


def test_one_bad_image_spoils_none_of_the_others(service: Service) -> None:
    response = send_form(service, picture(1), b"no image", picture(2))
    assert response.status_code == 200
    first, bad, last = response.json["results"]
    assert bad["error"]["code"] == "bad_image"
    assert set(bad["error"]) == {"code", "message"}
    assert [first["predictions"][0]["label"], last["predictions"][0]["label"]] == [label(picture(1)), label(picture(2))]


def test_if_all_images_are_bad_the_request_is(service: Service) -> None:
    response = send_form(service, b"no image", b"none either")
    assert (response.status_code, response.json["error"]["code"]) == (422, "bad_image")


def test_a_list_of_one_gets_a_list(service: Service) -> None:
    document = service.client.post("/predict", json={"images": [base64.b64encode(picture(3)).decode()]}).json
    assert [result["predictions"][0]["label"] for result in document["results"]] == [label(picture(3))]


def test_the_time_is_told_by_stage(service: Service) -> None:
    header = send(service, picture(4)).headers["Server-Timing"]
    spans = dict(span.split(";dur=") for span in header.split(", "))
    assert {"decode", "queue", "inference", "total"} <= set(spans)
    assert all(float(ms) >= 0 for ms in spans.values())
    assert float(spans["total"]) >= float(spans["decode"])


def test_without_a_worker_it_is_refused_at_once_with_a_time_to_come_back(make_service: MakeService) -> None:
    response = send(make_service(with_worker=False), picture(1))
    assert (response.status_code, response.json["error"]["code"]) == (503, "no_workers")
    assert int(response.headers["Retry-After"]) >= 1


def test_a_full_queue_refuses_and_keeps_what_it_has(make_service: MakeService) -> None:
    service = make_service(with_worker=False, max_queue_length=2)
    service.queue.join("w1", 30.0, {"model": "null"})
    for number in range(2):
        service.client.post(
            "/predict", data=picture(number), content_type="image/png", headers={"Prefer": "respond-async"}
        )
    response = send(service, picture(3))
    assert (response.status_code, response.json["error"]["code"]) == (503, "queue_full")
    assert int(response.headers["Retry-After"]) >= 1
    assert service.queue.depth() == 2


def test_at_the_deadline_it_is_504_and_the_job_is_cancelled(make_service: MakeService) -> None:
    service = make_service(with_worker=False, timeout=1.0)
    service.queue.join("w1", 30.0, {"model": "null"})
    response = send(service, picture(1))
    assert (response.status_code, response.json["error"]["code"]) == (504, "deadline_exceeded")
    eventually(lambda: service.queue.look_up([response.json["id"]])[0][0])
    assert service.queue.claim("w1", lease_seconds=30.0, token="t", limit=5) == []


def test_a_job_that_failed_is_500_with_the_reason_for_people_only(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    service.queue.join("w1", 30.0, {"model": "null"})

    def fail() -> None:
        eventually(lambda: service.queue.depth() == 1)
        (claimed,) = service.queue.claim("w1", lease_seconds=30.0, token="t", limit=1)
        job = Job.decode(claimed.document)
        result = Result(id=job.id, error=JobFailed("The model failed on this image."))
        service.queue.fail("w1", job.id, job.reply_to, result, "ZeroDivisionError at line 7")

    worker = threading.Thread(target=fail)
    worker.start()
    response = send(service, picture(1))
    worker.join()
    assert response.status_code == 500
    assert response.json["error"] == {"code": "job_failed", "message": "The model failed on this image."}


def test_a_host_whose_name_is_not_ascii_serves_as_any_other(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "büro")
    service = make_service()
    answer = send(service, picture(1))
    assert (answer.status_code, answer.json["predictions"][0]["label"]) == (200, label(picture(1)))
    (worker,) = service.queue.client.zrange(service.queue.key("workers"), 0, -1)
    assert worker.startswith(b"b%C3%BCro:")


def test_many_requests_at_once_each_get_their_own(service: Service) -> None:
    images = {n: picture(n) for n in range(30)}
    found: dict[int, str] = {}

    def request(number: int) -> None:
        document = service.app.test_client().post("/predict", data=images[number], content_type="image/png").json
        found[number] = document["predictions"][0]["label"]

    threads = [threading.Thread(target=request, args=(n,)) for n in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: label(image) for n, image in images.items()}
