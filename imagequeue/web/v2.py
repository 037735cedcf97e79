"""The Open Inference Protocol v2, as KServe and Triton speak it over HTTP, with Triton's extensions for binary tensors,
for classification and for the model's configuration.

Source: https://github.com/kserve/open-inference-protocol. Errors are `{"error": "…"}`; see app.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from flask import Blueprint, Response, jsonify, request

from imagequeue import __version__
from imagequeue.errors import Unavailable
from imagequeue.web import exchange
from imagequeue.web.jsonimages import MAX_IMAGES
from imagequeue.web.served import VERSION, model_named
from imagequeue.web.v2_tensors import INPUT, OUTPUT, InferRequest, answer_tensor

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration"]
HEADER_LENGTH = "Inference-Header-Content-Length"
# What zlib wraps around the data: a gzip header, or its own, which HTTP calls deflate.
_WRAPPERS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

blueprint = Blueprint("v2", __name__, url_prefix="/v2")


@blueprint.get("")
def server() -> Response:
    """The server's name, its version, and the protocol's extensions that it knows."""
    return jsonify({"name": "imagequeue", "version": __version__, "extensions": EXTENSIONS})


@blueprint.get("/health/live")
def live() -> Response:
    """This process runs."""
    return jsonify({"live": True})


@blueprint.get("/health/ready")
def ready() -> Response:
    """A request sent now would be served."""
    reason = exchange.classifier().why_not_ready()
    if reason:
        raise Unavailable(f"Not ready: {reason}.")
    return jsonify({"ready": True})


@blueprint.get("/models/<name>")
@blueprint.get("/models/<name>/versions/<version>")
def metadata(name: str, version: str | None = None) -> Response:
    """The model's inputs and outputs: names, types and shapes."""
    model = model_named(name, version)
    return jsonify(
        {
            "name": model.name,
            "versions": [VERSION],
            "platform": model.runtime,
            "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, model.classes]}],
        }
    )


@blueprint.get("/models/<name>/config")
@blueprint.get("/models/<name>/versions/<version>/config")
def config(name: str, version: str | None = None) -> Response:
    """The model as Triton's configuration has it: what its image clients look up before they send a batch."""
    model = model_named(name, version)
    return jsonify(
        {
            "name": model.name,
            "platform": model.runtime,
            "max_batch_size": MAX_IMAGES,
            "input": [{"name": INPUT, "data_type": "TYPE_STRING", "dims": [1]}],
            "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [model.classes]}],
        }
    )


@blueprint.get("/models/<name>/ready")
@blueprint.get("/models/<name>/versions/<version>/ready")
def model_ready(name: str, version: str | None = None) -> Response:
    """A worker with this model is alive."""
    return jsonify({"name": model_named(name, version).name, "ready": True})


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str | None = None) -> Response:
    """Classify images, each an element of the input `image`: all probabilities, or the best classes as text."""
    model = model_named(name, version)
    with exchange.admit() as visit:
        asked, files = exchange.document(visit, "infer", request.headers.get(HEADER_LENGTH))
        wanted = InferRequest([], **asked)
        answers = exchange.classify(visit, files, top=wanted.classification or model.classes)
    results = exchange.all_results(answers, INPUT)
    body: dict[str, Any] = {"model_name": model.name, "model_version": VERSION}
    if wanted.id is not None:
        body["id"] = wanted.id
    if any(result.facts.get("weights") == "random" for result in results):
        # The numbers of a model that has learnt nothing are no answer.
        body["parameters"] = {"weights": "random"}
    tensor = answer_tensor(wanted, results)
    if wanted.is_binary:
        content = tensor.in_bytes()
        body["outputs"] = [tensor.described() | {"parameters": {"binary_data_size": len(content)}}]
    else:
        content = b""
        body["outputs"] = [tensor.in_json()]
    return _packed(_response(wanted, json.dumps(body, separators=(",", ":")).encode(), content))


def _response(wanted: InferRequest, header: bytes, content: bytes) -> Response:
    if not wanted.is_binary:
        return Response(header, mimetype="application/json")
    response = Response(header + content, mimetype="application/octet-stream")
    response.headers[HEADER_LENGTH] = str(len(header))
    return response


def _packed(response: Response) -> Response:
    """Compressed, where the client asks for it. The header's length is that of the unpacked header all the same."""
    response.headers.add("Vary", "Accept-Encoding")
    encoding = request.accept_encodings.best_match(list(_WRAPPERS))
    if encoding is not None:
        packer = zlib.compressobj(wbits=_WRAPPERS[encoding])
        response.set_data(packer.compress(response.get_data()) + packer.flush())
        response.headers["Content-Encoding"] = encoding
    return response
