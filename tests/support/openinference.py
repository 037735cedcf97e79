"""Requests and answers of the Open Inference Protocol v2, in JSON and in bytes."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from werkzeug.test import TestResponse

from imagequeue.model import NULL_CLASSES
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.pictures import picture

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


def changed(**changes: Any) -> dict[str, Any]:
    document = in_json(1)
    document["inputs"][0] |= changes
    return document
