"""The Open Inference Protocol v2, by its letter; tests/e2e/test_serving_clients.py has its clients."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from imagequeue import __version__
from imagequeue.model import NULL_CLASSES
from tests.support.inprocess import Service
from tests.support.openinference import MODEL, best_of, class_of, in_bytes, in_json, infer
from tests.support.pictures import picture

MakeService = Callable[..., Service]


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
