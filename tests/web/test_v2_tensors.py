"""The protocol's tensors, in JSON and in bytes: what is read and written, and what does not add up."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from imagequeue.errors import BadRequest
from imagequeue.job import Result, new_id
from imagequeue.model import NULL_CLASSES
from imagequeue.web import v2_tensors
from imagequeue.web.v2_tensors import InferRequest, answer_tensor
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.openinference import MODEL, best_of, changed, class_of, element, in_bytes, in_json, infer, split
from tests.support.pictures import picture
from tests.support.runningworker import job, null_model


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2]])
def test_rows_may_be_nested_and_a_batch_have_a_dimension_of_its_own(service: Service, shape: list[int]) -> None:
    document = in_json(1, 2)
    (tensor,) = document["inputs"]
    tensor |= {"shape": shape, "data": [[text] for text in tensor["data"]]}
    assert best_of(infer(service, document).json["outputs"][0]["data"]) == [class_of(1), class_of(2)]


def test_parameters_that_are_null_are_as_none(service: Service) -> None:
    document = in_json(1, parameters=None, id=None)
    document["inputs"][0]["parameters"] = None
    document["outputs"] = [{"name": "probabilities", "parameters": None}]
    assert best_of(infer(service, document).json["outputs"][0]["data"]) == [class_of(1)]
    unset = {"classification": None, "binary_data": None}
    document["outputs"] = [{"name": "probabilities", "parameters": unset}]
    document["parameters"] = {"binary_data_output": None}
    document["inputs"][0]["parameters"] = {"binary_data_size": None}
    assert best_of(infer(service, document).json["outputs"][0]["data"]) == [class_of(1)]


def test_an_id_of_up_to_its_bound_is_echoed(service: Service) -> None:
    assert infer(service, in_json(1, id="x" * 1024)).json["id"] == "x" * 1024
    refused = infer(service, in_json(1, id="x" * 1025))
    assert (refused.status_code, refused.json) == (400, {"error": "`id` has 1025 characters; at most 1024 are taken."})


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


def test_what_the_model_gave_comes_back_to_the_last_bit_however_small() -> None:
    given = np.exp(-np.linspace(0, 100, NULL_CLASSES)).astype(np.float32)
    model = replace(null_model(), predict=lambda pixels: np.tile(given, (len(pixels), 1)))
    (predictions,) = model.classify(model.batch_of([job(1).pixels]), [NULL_CLASSES])
    # By way of Redis.
    result = Result.decode(Result(id=new_id(), predictions=predictions).encode())
    tensor = answer_tensor(InferRequest([]), [result])
    assert tensor.in_bytes() == given.tobytes()
    assert np.array_equal(np.array(json.loads(json.dumps(tensor.in_json()))["data"], np.float32), given)
    texts = answer_tensor(InferRequest([], classification=NULL_CLASSES), [result]).in_json()["data"]
    assert np.array_equal(np.array([text.split(":")[0] for text in texts], np.float32), given)
    assert texts[0] == "1.000000:0:null_0"
    assert not any("e" in text.split(":")[0] for text in texts)


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
        in_json(1, id="x" * 1025),
        changed(name="x" * 5000),
        changed(name=["x" * 5000]),
        changed(data=[[]] * 100_000),
        in_json(1, outputs=[{"name": {"x": "x" * 5000}}]),
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
    assert 10 < len(response.json["error"]) < 300


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


@pytest.mark.parametrize("count", [1, 128])
def test_no_more_elements_are_looked_at_than_the_shape_has(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(v2_tensors, "from_base64", lambda text, where: read.append(where) or b"")
    tensor: dict[str, object] = {"name": "image", "datatype": "BYTES", "shape": [count]}
    with pytest.raises(BadRequest, match=f"more elements than the {count} of its shape"):
        v2_tensors.read_request(json.dumps({"inputs": [tensor | {"data": ["AA=="] * 1000}]}).encode(), None)
    assert len(read) == count + 1

    unpacked: list[int] = []
    unpack = v2_tensors._LENGTH.unpack_from

    class Counting:
        size = 4

        def unpack_from(self, binary: bytes, offset: int) -> tuple[int, ...]:
            unpacked.append(offset)
            return unpack(binary, offset)

    monkeypatch.setattr(v2_tensors, "_LENGTH", Counting())
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 40_000}}]}).encode()
    with pytest.raises(BadRequest, match=f"more elements than the {count} of its shape"):
        v2_tensors.read_request(head + bytes(40_000), str(len(head)))
    assert len(unpacked) == count + 1


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


@pytest.mark.parametrize("shape", [[10**4000, 10**4000], [10**4299] * 200, [1] * 9, [2**31 + 1]])
def test_a_shape_that_takes_minutes_to_multiply_is_refused_unmultiplied(service: Service, shape: list[int]) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": shape, "data": ["AA=="]}
    assert infer(service, {"inputs": [tensor]}).status_code == 400
