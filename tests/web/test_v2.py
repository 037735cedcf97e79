"""The Open Inference Protocol v2, by its letter; tests/e2e/test_clients.py has its clients."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from imagequeue import __version__
from imagequeue.model import NULL_CLASSES
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.pictures import picture

MakeService = Callable[..., Service]
MODEL = "/v2/models/null"


def class_of(number: int) -> int:
    return int(null_label(picture(number), SIZE).removeprefix("null_"))


def element(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def in_json(*numbers: int, **more: Any) -> dict[str, Any]:
    data = [base64.b64encode(picture(number)).decode() for number in numbers]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}], **more}


def in_bytes(*numbers: int, **more: Any) -> tuple[dict[str, Any], bytes]:
    content = b"".join(element(picture(number)) for number in numbers)
    parameters = {"binary_data_size": len(content)}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(numbers)], "parameters": parameters}
    return {"inputs": [tensor], **more}, content


def infer(service: Service, document: object, content: bytes | None = None, **headers: str) -> TestResponse:
    body = json.dumps(document).encode()
    if content is not None:
        headers["Inference-Header-Content-Length"] = str(len(body))
    return service.client.post(f"{MODEL}/infer", data=body + (content or b""), headers=headers)


def split(response: TestResponse) -> tuple[dict[str, Any], bytes]:
    length = int(response.headers["Inference-Header-Content-Length"])
    return json.loads(response.data[:length]), response.data[length:]


def best_of(probabilities: list[float]) -> list[int]:
    rows = [probabilities[i : i + NULL_CLASSES] for i in range(0, len(probabilities), NULL_CLASSES)]
    return [row.index(1.0) for row in rows]


def test_the_server_tells_its_name_version_and_extensions(service: Service) -> None:
    found = service.client.get("/v2").json
    assert found == {
        "name": "imagequeue",
        "version": __version__,
        "extensions": ["binary_tensor_data", "classification", "model_configuration"],
    }


def test_it_is_live_and_ready(service: Service) -> None:
    assert service.client.get("/v2/health/live").json == {"live": True}
    assert service.client.get("/v2/health/ready").json == {"ready": True}
    for path in (f"{MODEL}/ready", f"{MODEL}/versions/1/ready"):
        assert service.client.get(path).json == {"name": "null", "ready": True}


def test_metadata_is_of_the_model_that_the_workers_have(service: Service) -> None:
    for path in (MODEL, f"{MODEL}/versions/1"):
        assert service.client.get(path).json == {
            "name": "null",
            "versions": ["1"],
            "platform": "null",
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, NULL_CLASSES]}],
        }


def test_the_configuration_says_the_same_in_tritons_words(service: Service) -> None:
    for path in (f"{MODEL}/config", f"{MODEL}/versions/1/config"):
        assert service.client.get(path).json == {
            "name": "null",
            "platform": "null",
            "max_batch_size": 128,
            "input": [{"name": "image", "data_type": "TYPE_STRING", "dims": [1]}],
            "output": [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [NULL_CLASSES]}],
        }


def test_json_in_and_json_out(service: Service) -> None:
    response = infer(service, in_json(1, 2, id="mine"))
    assert response.status_code == 200, response.json
    assert response.mimetype == "application/json"
    found = response.json
    assert (found["id"], found["model_name"], found["model_version"]) == ("mine", "null", "1")
    (output,) = found["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [2, NULL_CLASSES])
    assert best_of(output["data"]) == [class_of(1), class_of(2)]


def test_an_id_is_echoed_only_where_one_was_sent(service: Service) -> None:
    assert "id" not in infer(service, in_json(1)).json
    assert infer(service, in_json(1, id="")).json["id"] == ""


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2]])
def test_rows_may_be_nested_and_a_batch_have_a_dimension_of_its_own(service: Service, shape: list[int]) -> None:
    document = in_json(1, 2)
    (tensor,) = document["inputs"]
    tensor |= {"shape": shape, "data": [[text] for text in tensor["data"]]}
    assert best_of(infer(service, document).json["outputs"][0]["data"]) == [class_of(1), class_of(2)]


def test_bytes_in_and_bytes_out(service: Service) -> None:
    response = infer(service, *in_bytes(1, 2, 3, parameters={"binary_data_output": True}))
    assert response.status_code == 200, response.json
    header, content = split(response)
    (output,) = header["outputs"]
    assert "data" not in output
    assert output["shape"] == [3, NULL_CLASSES]
    assert output["parameters"]["binary_data_size"] == len(content) == 4 * 3 * NULL_CLASSES
    probabilities = list(struct.unpack(f"<{3 * NULL_CLASSES}f", content))
    assert best_of(probabilities) == [class_of(number) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("of_all", "of_this", "is_binary"),
    [(None, None, False), (True, None, True), (True, False, False), (False, True, True), (None, True, True)],
)
def test_an_outputs_own_word_on_bytes_goes_before_the_requests(
    service: Service, of_all: bool | None, of_this: bool | None, is_binary: bool
) -> None:
    parameters = {} if of_this is None else {"binary_data": of_this}
    document = in_json(1, outputs=[{"name": "probabilities", "parameters": parameters}])
    if of_all is not None:
        document["parameters"] = {"binary_data_output": of_all}
    response = infer(service, document)
    assert ("Inference-Header-Content-Length" in response.headers) == is_binary


def test_classification_is_text_best_first(service: Service) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": 3}}]
    (output,) = infer(service, in_json(1, 2, outputs=outputs)).json["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 3])
    for number, text in ((1, output["data"][0]), (2, output["data"][3])):
        assert text == f"1.000000:{class_of(number)}:{null_label(picture(number), SIZE)}"


def test_classification_in_bytes_has_a_length_before_each_text(service: Service) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": 1, "binary_data": True}}]
    header, content = split(infer(service, in_json(1, 2, outputs=outputs)))
    texts = [f"1.000000:{class_of(n)}:{null_label(picture(n), SIZE)}".encode() for n in (1, 2)]
    assert content == b"".join(map(element, texts))
    assert header["outputs"][0]["shape"] == [2, 1]


def test_more_classes_than_there_are_are_all_of_them(service: Service) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": 5000}}]
    assert infer(service, in_json(1, outputs=outputs)).json["outputs"][0]["shape"] == [1, NULL_CLASSES]


def test_a_raw_body_is_one_image(service: Service) -> None:
    response = service.client.post(f"{MODEL}/infer", data=picture(4), headers={"Inference-Header-Content-Length": "0"})
    assert best_of(response.json["outputs"][0]["data"]) == [class_of(4)]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_requests_and_answers_may_be_compressed(
    service: Service, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    document, content = in_bytes(1, parameters={"binary_data_output": True})
    body = json.dumps(document).encode()
    headers = {
        "Content-Encoding": encoding,
        "Accept-Encoding": encoding,
        "Inference-Header-Content-Length": str(len(body)),
    }
    response = service.client.post(f"{MODEL}/infer", data=pack(body + content), headers=headers)
    assert response.headers["Content-Encoding"] == encoding
    unpacked = gzip.decompress(response.data) if encoding == "gzip" else zlib.decompress(response.data)
    length = int(response.headers["Inference-Header-Content-Length"])
    assert json.loads(unpacked[:length])["outputs"][0]["shape"] == [1, NULL_CLASSES]
    assert len(unpacked) - length == 4 * NULL_CLASSES


def test_nothing_is_compressed_unasked(service: Service) -> None:
    assert "Content-Encoding" not in infer(service, in_json(1)).headers


def changed(**changes: Any) -> dict[str, Any]:
    document = in_json(1)
    document["inputs"][0] |= changes
    return document


@pytest.mark.parametrize(
    "document",
    [
        "no object",
        {},
        {"inputs": []},
        {"inputs": "x"},
        {"inputs": [5]},
        {"inputs": in_json(1)["inputs"] * 2},
        changed(name="other"),
        changed(datatype="FP32"),
        changed(shape=[2]),
        changed(shape=[0], data=[]),
        changed(shape=[]),
        changed(shape="1"),
        changed(shape=[-1]),
        changed(shape=[True]),
        changed(data=None),
        changed(data=[5]),
        changed(data=["?"]),
        changed(parameters=5),
        changed(parameters={"shared_memory_region": "x"}),
        changed(parameters={"binary_data_size": 10}),
        in_json(1, id=5),
        in_json(1, outputs=[{"name": "other"}]),
        in_json(1, outputs=[5]),
        in_json(1, outputs={"name": "probabilities"}),
        in_json(1, outputs=[{"name": "probabilities"}] * 2),
        in_json(1, outputs=[{"name": "probabilities", "parameters": {"classification": -1}}]),
        in_json(1, outputs=[{"name": "probabilities", "parameters": {"classification": "3"}}]),
        in_json(1, parameters=[]),
        changed(data=[base64.b64encode(b"no image").decode()]),
    ],
)
def test_what_is_no_request_is_refused_with_a_sentence(service: Service, document: object) -> None:
    response = infer(service, document)
    assert response.status_code == 400, response.json
    assert set(response.json) == {"error"}
    assert len(response.json["error"]) > 10


@pytest.mark.parametrize(
    ("shape", "content", "size"),
    [
        ([1], element(b"x")[:-1], None),
        ([1], b"\x01\x00", None),
        ([1], element(b"x") + b"\x00", None),
        ([1], b"\xff\xff\xff\xff", None),
        ([2], element(b"x"), None),
        ([1], element(b"x"), 4),
        ([1], element(b"x"), "5"),
        ([1], b"", None),
    ],
)
def test_bytes_that_do_not_add_up_are_refused(service: Service, shape: list[int], content: bytes, size: object) -> None:
    parameters = {"binary_data_size": len(content) if size is None else size}
    tensor = {"name": "image", "datatype": "BYTES", "shape": shape, "parameters": parameters}
    response = infer(service, {"inputs": [tensor]}, content)
    assert (response.status_code, set(response.json)) == (400, {"error"})


def test_bytes_that_no_input_owns_are_refused(service: Service) -> None:
    assert infer(service, in_json(1), b"more").status_code == 400


@pytest.mark.parametrize("length", ["-1", "x", "999999999", "9" * 30, "²"])
def test_a_wrong_length_of_the_header_is_refused(service: Service, length: str) -> None:
    body, headers = json.dumps(in_json(1)), {"Inference-Header-Content-Length": length}
    response = service.client.post(f"{MODEL}/infer", data=body, headers=headers)
    assert (response.status_code, set(response.json)) == (400, {"error"})


def test_more_images_than_are_taken_at_once_are_refused(service: Service) -> None:
    response = infer(service, changed(shape=[129]))
    assert (response.status_code, set(response.json)) == (413, {"error"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/other"),
        ("GET", f"{MODEL}/versions/2"),
        ("GET", "/v2/models/other/ready"),
        ("POST", "/v2/models/other/infer"),
        ("POST", f"{MODEL}/versions/2/infer"),
        ("GET", "/v2/nothing"),
    ],
)
def test_another_model_or_version_is_not_found(service: Service, method: str, path: str) -> None:
    response = service.client.open(path, method=method, data=json.dumps(in_json(1)))
    assert (response.status_code, set(response.json)) == (404, {"error"})


def test_without_a_worker_it_is_live_and_not_ready(make_service: MakeService) -> None:
    client = make_service(with_worker=False).client
    assert client.get("/v2/health/live").status_code == 200
    responses = [client.get(path) for path in ("/v2/health/ready", MODEL, f"{MODEL}/ready")]
    responses.append(client.post(f"{MODEL}/infer", data=json.dumps(in_json(1))))
    for response in responses:
        assert (response.status_code, set(response.json)) == (503, {"error"})


@pytest.mark.parametrize("shape", [[10**4000, 10**4000], [10**4299] * 200, [1] * 9, [2**31 + 1]])
def test_a_shape_that_takes_minutes_to_multiply_is_refused_unmultiplied(service: Service, shape: list[int]) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": shape, "data": ["AA=="]}
    assert infer(service, {"inputs": [tensor]}).status_code == 400
