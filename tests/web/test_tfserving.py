"""TensorFlow Serving's REST API: every form of request that its clients send, answered as they expect it."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from werkzeug.test import TestResponse

from imagequeue.model import NULL_CLASSES, null_class
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.pictures import picture

MakeService = Callable[..., Service]
MODEL = "/v1/models/null"


def b64(number: int) -> dict[str, str]:
    return {"b64": base64.b64encode(picture(number)).decode()}


def class_of(number: int) -> int:
    return int(null_label(picture(number), SIZE).removeprefix("null_"))


def post(service: Service, document: object, path: str = f"{MODEL}:predict") -> TestResponse:
    # As `curl -d` sends it: JSON that claims to be a form.
    return service.client.post(path, data=json.dumps(document), content_type="application/x-www-form-urlencoded")


def best(probabilities: list[float]) -> int:
    assert len(probabilities) == NULL_CLASSES
    assert sum(probabilities) == pytest.approx(1.0)
    return probabilities.index(max(probabilities))


def test_the_model_is_available(service: Service) -> None:
    state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in (MODEL, f"{MODEL}/versions/1"):
        response = service.client.get(path)
        assert (response.status_code, response.json) == (200, {"model_version_status": [state]})


def test_metadata_is_of_the_model_that_the_workers_have(service: Service) -> None:
    found = service.client.get(f"{MODEL}/metadata").json
    assert found["model_spec"] == {"name": "null", "signature_name": "", "version": "1"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    files, tensor = signatures["serving_default"], signatures["serving_tensor"]
    assert files["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert set(files["outputs"]) == {"classes", "probabilities"}

    def shape(tensor: dict[str, Any]) -> list[int]:
        return [int(dimension["size"]) for dimension in tensor["tensor_shape"]["dim"]]

    assert shape(files["outputs"]["probabilities"]) == [-1, NULL_CLASSES]
    assert shape(tensor["inputs"]["image"]) == [-1, SIZE[1], SIZE[0], 3]


@pytest.mark.parametrize(
    "form",
    [
        lambda image: image,
        lambda image: {"image_bytes": image},
        lambda image: {"bytes": image},
        lambda image: image["b64"],
        lambda image: f"data:image/png;base64,{image['b64']}",
    ],
    ids=["b64", "image_bytes", "another name", "text", "data url"],
)
def test_files_in_rows_give_the_best_class_and_all_probabilities_in_order(
    service: Service, form: Callable[[dict[str, str]], object]
) -> None:
    response = post(service, {"instances": [form(b64(number)) for number in range(3)]})
    assert response.status_code == 200, response.json
    for number, prediction in enumerate(response.json["predictions"]):
        assert prediction["classes"] == class_of(number) == best(prediction["probabilities"])


@pytest.mark.parametrize("path", [f"{MODEL}/versions/1:predict", f"{MODEL}:predict"])
def test_a_version_and_a_signature_may_be_named(service: Service, path: str) -> None:
    response = post(service, {"signature_name": "serving_default", "instances": [b64(1)]}, path)
    assert response.json["predictions"][0]["classes"] == class_of(1)


def test_what_is_null_is_as_what_is_not_there(service: Service) -> None:
    response = post(service, {"signature_name": None, "inputs": None, "instances": [b64(1)]})
    assert response.json["predictions"][0]["classes"] == class_of(1)
    assert "outputs" in post(service, {"instances": None, "inputs": [b64(1)]}).json
    assert "neither or both" in post(service, {"instances": None, "inputs": None}).json["error"]


@pytest.mark.parametrize("form", [lambda images: images, lambda images: {"image_bytes": images}])
def test_columns_are_answered_in_columns(service: Service, form: Callable[[object], object]) -> None:
    response = post(service, {"inputs": form([b64(1), b64(2)])})
    outputs = response.json["outputs"]
    assert outputs["classes"] == [class_of(1), class_of(2)]
    assert [best(row) for row in outputs["probabilities"]] == outputs["classes"]


def pixels() -> tuple[Image.Image, list[list[list[int]]]]:
    image = Image.open(io.BytesIO(picture(5, SIZE))).convert("RGB")
    rows = [[list(image.getpixel((x, y))) for x in range(SIZE[0])] for y in range(SIZE[1])]
    return image, rows


@pytest.mark.parametrize(
    "form",
    [lambda level: level, float, lambda level: level / 255.0],
    ids=["levels", "levels as floats", "fractions"],
)
def test_tensors_are_the_very_pixels_and_answered_by_probabilities_alone(
    service: Service, form: Callable[[int], float]
) -> None:
    image, rows = pixels()
    tensor = [[[form(level) for level in pixel] for pixel in row] for row in rows]
    response = post(service, {"instances": [tensor, {"image": tensor}]})
    assert response.status_code == 200, response.json
    assert [best(row) for row in response.json["predictions"]] == [null_class(image.tobytes())] * 2


def test_a_tensor_in_columns_is_answered_in_columns(service: Service) -> None:
    image, rows = pixels()
    for inputs in ([rows], {"image": [rows]}):
        response = post(service, {"inputs": inputs})
        assert [best(row) for row in response.json["outputs"]] == [null_class(image.tobytes())]


def test_a_nearly_black_picture_of_whole_numbers_is_not_taken_for_fractions(service: Service) -> None:
    rows = [[[0, 1, 0]] * SIZE[0]] * SIZE[1]
    response = post(service, {"instances": [rows]})
    assert best(response.json["predictions"][0]) == null_class(bytes([0, 1, 0]) * SIZE[0] * SIZE[1])


def test_classify_gives_labels_and_scores_as_many_as_top_says(service: Service) -> None:
    document = {"examples": [{"image": b64(1), "caption": "seaside"}, {"image": b64(2)}]}
    first, second = post(service, document, f"{MODEL}:classify?top=3").json["results"]
    assert (len(first), len(second)) == (3, 3)
    assert first[0] == [null_label(picture(1), SIZE), 1.0]
    assert second[0] == [null_label(picture(2), SIZE), 1.0]


def test_a_compressed_body_is_read(service: Service) -> None:
    body = gzip.compress(json.dumps({"instances": [b64(1)]}).encode())
    response = service.client.post(f"{MODEL}:predict", data=body, headers={"Content-Encoding": "gzip"})
    assert response.json["predictions"][0]["classes"] == class_of(1)


@pytest.mark.parametrize(
    "document",
    [
        "no object",
        {},
        {"instances": []},
        {"instances": "x"},
        {"instances": [b64(1)], "inputs": [b64(1)]},
        {"instances": [{"b64": "?"}]},
        {"instances": [{"b64": 5}]},
        {"instances": [{"a": b64(1), "b": b64(1)}]},
        {"instances": [{}]},
        {"instances": [None]},
        {"instances": [1.0, 2.0, 5.0]},
        {"instances": [[1.0, 2.0]]},
        {"instances": [[]]},
        {"instances": [[[]]]},
        {"instances": [[[[1, 2]]]]},
        {"instances": [[["abc"]]]},
        {"instances": [[[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]]]},
        {"instances": [[[[-103.9, 1.0, 2.0]]]]},
        {"instances": [[[[256, 1, 2]]]]},
        {"instances": [[[[float("nan"), 1.0, 2.0]]]]},
        {"instances": [[[[float("inf"), 1.0, 2.0]]]]},
        {"instances": [b64(1), [[[1, 2, 3]]]]},
        {"inputs": {"a": [b64(1)], "b": [b64(1)]}},
        {"signature_name": "other", "instances": [b64(1)]},
        {"signature_name": "x" * 5000, "instances": [b64(1)]},
        {"signature_name": ["x" * 5000], "instances": [b64(1)]},
        {"instances": [b64(1), {"b64": base64.b64encode(b"no image").decode()}]},
    ],
)
def test_what_is_no_request_is_refused_with_a_sentence(service: Service, document: object) -> None:
    response = post(service, document)
    assert response.status_code == 400, response.json
    assert set(response.json) == {"error"}
    assert 10 < len(response.json["error"]) < 300


def test_the_bad_image_among_several_is_named(service: Service) -> None:
    bad = {"b64": base64.b64encode(b"no image").decode()}
    assert post(service, {"instances": [b64(1), bad]}).json["error"].startswith("instances[1]: ")


@pytest.mark.parametrize("examples", [None, [], [5], [{}], [{"caption": "seaside"}], [{"a": b64(1), "b": b64(2)}]])
def test_examples_without_one_image_each_are_refused(service: Service, examples: object) -> None:
    response = post(service, {"examples": examples}, f"{MODEL}:classify")
    assert (response.status_code, set(response.json)) == (400, {"error"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/half"),
        ("GET", f"{MODEL}/versions/2"),
        ("GET", "/v1/models/half/metadata"),
        ("POST", "/v1/models/half:predict"),
        ("POST", f"{MODEL}/versions/2:predict"),
        ("POST", "/v1/models/half:classify"),
        ("GET", "/v1/nothing"),
    ],
)
def test_another_model_version_or_verb_is_not_found(service: Service, method: str, path: str) -> None:
    response = service.client.open(path, method=method, data=json.dumps({"instances": [b64(1)]}))
    assert (response.status_code, set(response.json)) == (404, {"error"})


def test_the_wrong_method_is_refused_in_the_same_shape(service: Service) -> None:
    for method, path, status in (
        ("DELETE", MODEL, 405),
        ("PUT", f"{MODEL}:predict", 405),
        # A colon is no part of a model's name, so this is no path that could be read either.
        ("GET", f"{MODEL}:predict", 405),
        ("POST", f"{MODEL}:regress", 404),
    ):
        response = service.client.open(path, method=method)
        assert (response.status_code, set(response.json)) == (status, {"error"})


def test_without_a_worker_there_is_no_model_for_now(make_service: MakeService) -> None:
    client = make_service(with_worker=False).client
    for response in (client.get(MODEL), client.post(f"{MODEL}:predict", data=b"{}")):
        assert (response.status_code, set(response.json)) == (503, {"error"})
        assert int(response.headers["Retry-After"]) >= 1


def test_a_body_over_the_limit_is_refused(make_service: MakeService) -> None:
    service = make_service(max_upload_bytes=1000)
    response = post(service, {"instances": ["x" * 100_000]})
    assert (response.status_code, set(response.json)) == (413, {"error"})


def test_the_deadline_is_told_in_the_same_shape(make_service: MakeService) -> None:
    service = make_service(with_worker=False, timeout=0.1)
    facts: dict[str, str | int | float] = {"model": "null", "classes": 1000, "image_size": "8x8", "runtime": "null"}
    service.queue.join("w1", 30.0, facts)
    response = post(service, {"instances": [b64(1)]})
    assert (response.status_code, set(response.json)) == (504, {"error"})
