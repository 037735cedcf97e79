"""The clients of TensorFlow Serving, Triton and KServe, each as its documentation shows it, against a real server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from PIL import Image
from tritonclient.utils import InferenceServerException

from imagequeue.model import NULL_CLASSES, null_class
from tests.support.clients import class_of, needs_curl, run
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import WEIGHTS, System


def test_tensorflow_servings_example_with_a_jpeg(url: str, photo: Path) -> None:
    jpeg_bytes = base64.b64encode(photo.read_bytes()).decode("utf-8")
    predict_request = f'{{"instances" : [{{"b64": "{jpeg_bytes}"}}]}}'
    response = requests.post(f"{url}/v1/models/null:predict", data=predict_request, timeout=30)
    response.raise_for_status()
    assert response.json()["predictions"][0]["classes"] == class_of(photo.read_bytes())


def test_tensorflow_servings_example_with_a_tensor(url: str, photo: Path) -> None:
    image = Image.open(photo).resize((224, 224))
    tensor = np.expand_dims(np.array(image) / 255.0, 0).tolist()
    response = requests.post(f"{url}/v1/models/null:predict", data=json.dumps({"instances": tensor}), timeout=30)
    response.raise_for_status()
    assert np.argmax(response.json()["predictions"][0]) == null_class(image.tobytes())


@needs_curl
def test_tensorflow_servings_curl_lines(url: str, photo: Path, tmp_path: Path) -> None:
    (state,) = run("curl", "-sS", f"{url}/v1/models/null")["model_version_status"]
    assert (state["version"], state["state"], state["status"]["error_code"]) == ("1", "AVAILABLE", "OK")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"instances": [{"b64": base64.b64encode(photo.read_bytes()).decode()}]}))
    answer = run("curl", "-sS", "-d", f"@{body}", "-X", "POST", f"{url}/v1/models/null:predict")
    assert answer["predictions"][0]["classes"] == class_of(photo.read_bytes())
    error = run("curl", "-sS", "-d", '{"instances": [1.0,5.0]}', "-X", "POST", f"{url}/v1/models/half:predict")
    assert "Servable not found for request: Latest(half)" in error["error"]


@pytest.fixture
def client(url: str) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    yield client
    client.close()


def image_input(*images: bytes) -> triton.InferInput:
    tensor = triton.InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(np.array(images, dtype=np.object_))
    return tensor


def test_tritonclient_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("null")
    assert client.is_model_ready("null", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"][:2] == ["binary_tensor_data", "classification"]
    metadata = client.get_model_metadata("null")
    assert metadata["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, NULL_CLASSES]}]


def test_tritonclient_infers_with_all_its_defaults(client: triton.InferenceServerClient, photo: Path) -> None:
    image = photo.read_bytes()
    result = client.infer("null", [image_input(image)], request_id="mine")
    assert result.get_response()["id"] == "mine"
    probabilities = result.as_numpy("probabilities")
    assert (probabilities.shape, probabilities.dtype) == ((1, NULL_CLASSES), np.float32)
    assert probabilities.argmax() == class_of(image)


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritonclient_with_several_images(client: triton.InferenceServerClient, is_binary: bool) -> None:
    images = [picture(number) for number in range(8)]
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=is_binary)]
    result = client.infer("null", [image_input(*images)], outputs=outputs, model_version="1")
    assert list(result.as_numpy("probabilities").argmax(axis=1)) == [class_of(image) for image in images]


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritonclient_with_classification(client: triton.InferenceServerClient, is_binary: bool) -> None:
    images = [picture(number) for number in range(3)]
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=is_binary, class_count=2)]
    classes = client.infer("null", [image_input(*images)], outputs=outputs).as_numpy("probabilities")
    assert classes.shape == (3, 2)
    for image, (best, _) in zip(images, classes, strict=True):
        text = best.decode() if isinstance(best, bytes) else best
        assert text.split(":") == ["1.000000", str(class_of(image)), null_label(image)]


def test_tritons_image_example_of_encoded_files(client: triton.InferenceServerClient) -> None:
    """As its ensemble_image_client.py does it: look everything up, stack a batch, read the classes."""
    metadata = client.get_model_metadata("null")
    config = client.get_model_config("null")
    assert len(config["input"]) == len(metadata["inputs"]) == 1
    files = [picture(number, (320, 240), "JPEG") for number in range(3)]
    batch = np.stack([np.array([file], dtype=bytes) for file in files[: config["max_batch_size"]]], axis=0)
    tensor = triton.InferInput(metadata["inputs"][0]["name"], batch.shape, "BYTES")
    tensor.set_data_from_numpy(batch, binary_data=True)
    (name,) = [output["name"] for output in metadata["outputs"]]
    outputs = [triton.InferRequestedOutput(name, binary_data=True, class_count=2)]
    rows = client.infer("null", [tensor], outputs=outputs).as_numpy(name)
    assert len(rows) == 3
    for file, (best, _) in zip(files, rows, strict=True):
        assert "".join(chr(x) for x in best).split(":")[1:] == [str(class_of(file)), null_label(file)]


def test_tritonclient_with_text_in_json(client: triton.InferenceServerClient, photo: Path) -> None:
    tensor = triton.InferInput("image", [1, 1], "BYTES")
    text = base64.b64encode(photo.read_bytes())
    tensor.set_data_from_numpy(np.array([[text]], dtype=np.object_), binary_data=False)
    assert client.infer("null", [tensor]).as_numpy("probabilities").argmax() == class_of(photo.read_bytes())


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_tritonclient_compresses_both_ways(client: triton.InferenceServerClient, photo: Path, packed: str) -> None:
    result = client.infer(
        "null",
        [image_input(photo.read_bytes())],
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    assert result.as_numpy("probabilities").argmax() == class_of(photo.read_bytes())


def test_tritonclient_raises_what_went_wrong(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"image\[1\]: The bytes are no image") as bad:
        client.infer("null", [image_input(picture(1), b"no image")])
    assert bad.value.status() == "400"
    with pytest.raises(InferenceServerException, match="other") as missing:
        client.get_model_metadata("other")
    assert missing.value.status() == "404"


def test_tritonclient_asynchronously(client: triton.InferenceServerClient, url: str) -> None:
    images = [picture(number) for number in range(4)]
    pending = [client.async_infer("null", [image_input(image)]) for image in images]
    found = [request.get_result().as_numpy("probabilities").argmax() for request in pending]

    async def infer_all() -> list[int]:
        async with triton_aio.InferenceServerClient(url.removeprefix("http://")) as aio:
            results = await asyncio.gather(*(aio.infer("null", [image_input(image)]) for image in images))
            return [result.as_numpy("probabilities").argmax() for result in results]

    assert found == asyncio.run(infer_all()) == [class_of(image) for image in images]


def test_kserves_json(url: str, photo: Path) -> None:
    data = [base64.b64encode(photo.read_bytes()).decode()]
    body = {"id": "1", "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]}
    answer = requests.post(f"{url}/v2/models/null/infer", json=body, timeout=30).json()
    assert answer["id"] == "1"
    (output,) = answer["outputs"]
    assert output["shape"] == [1, NULL_CLASSES]
    assert np.argmax(output["data"]) == class_of(photo.read_bytes())


@pytest.mark.slow
def test_every_protocol_finds_the_castle(
    photographs: Path, redis_server: RedisServer, make_system: Callable[..., System]
) -> None:
    system = make_system(redis_server, MODEL="resnet50", MODEL_WEIGHTS=WEIGHTS, MAX_BATCH_SIZE=1).start()
    castle = photographs / "castle_image.jpg"
    (wanted, *_) = json.loads((photographs / "expected.json").read_text())[castle.name]["predictions"]
    assert wanted["label"] == "castle"
    index, probability = 483, pytest.approx(wanted["probability"], abs=1e-3)

    (instance,) = [{"b64": base64.b64encode(castle.read_bytes()).decode()}]
    tensor = (np.array(Image.open(castle).resize((224, 224))) / 255.0).tolist()
    predict = f"{system.url}/v1/models/resnet50:predict"
    (from_file,) = requests.post(predict, json={"instances": [instance]}, timeout=60).json()["predictions"]
    (from_tensor,) = requests.post(predict, json={"instances": [tensor]}, timeout=60).json()["predictions"]
    assert from_file["classes"] == np.argmax(from_tensor) == index
    assert from_file["probabilities"][index] == probability
    assert from_tensor[index] == probability

    with triton.InferenceServerClient(system.url.removeprefix("http://")) as client:
        outputs = [triton.InferRequestedOutput("probabilities", class_count=1)]
        (row,) = client.infer("resnet50", [image_input(castle.read_bytes())], outputs=outputs).as_numpy("probabilities")
    value, found_index, label = row[0].decode().split(":")
    assert (float(value), int(found_index), label) == (probability, index, "castle")
