"""TensorFlow Serving's REST API, for clients that were written for it.

Source: https://www.tensorflow.org/tfx/serving/api_rest. Errors are `{"error": "…"}`; see app.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from imagequeue.job import Result
from imagequeue.web import exchange
from imagequeue.web.instances import FILES_SIGNATURE, TENSOR_SIGNATURE
from imagequeue.web.predict import read_top
from imagequeue.web.served import VERSION, ServedModel, model_named

blueprint = Blueprint("tfserving", __name__, url_prefix="/v1/models")


class ModelConverter(BaseConverter):
    """A name or a version in a path. It ends at a colon, so that `name:predict` is never a model of that name."""

    regex = "[^/:]+"


@blueprint.record_once
def _know_names(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["model"] = ModelConverter


@blueprint.get("/<model:name>")
@blueprint.get("/<model:name>/versions/<model:version>")
def status(name: str, version: str | None = None) -> Response:
    """The state of a model's versions, of which there is one."""
    model_named(name, version)
    state = {"version": VERSION, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return jsonify({"model_version_status": [state]})


@blueprint.get("/<model:name>/metadata")
@blueprint.get("/<model:name>/versions/<model:version>/metadata")
def metadata(name: str, version: str | None = None) -> Response:
    """The model's signatures: names, types and shapes of what it takes and gives."""
    model = model_named(name, version)
    signatures = {"signature_def": _signatures(model)}
    return jsonify(
        {
            "model_spec": {"name": model.name, "signature_name": "", "version": VERSION},
            "metadata": {"signature_def": signatures},
        }
    )


@blueprint.post("/<model:name>:predict")
@blueprint.post("/<model:name>/versions/<model:version>:predict")
def predict(name: str, version: str | None = None) -> Response:
    """Classify images given as `instances` or `inputs`: the probability of each class, for files the best one too."""
    model = model_named(name, version)
    with exchange.admit() as visit:
        wanted, files = exchange.document(visit, "instances")
        answers = exchange.classify(visit, files, top=model.classes)
    results = exchange.all_results(answers, "inputs" if wanted["is_columnar"] else "instances")
    probabilities = [result.distribution() for result in results]
    if wanted["is_tensor"]:
        rows: list[Any] = probabilities
        columns: Any = probabilities
    else:
        classes = [result.predictions[0].index for result in results]
        rows = [{"probabilities": p, "classes": c} for p, c in zip(probabilities, classes, strict=True)]
        columns = {"probabilities": probabilities, "classes": classes}
    return _answer({"outputs": columns} if wanted["is_columnar"] else {"predictions": rows}, results)


@blueprint.post("/<model:name>:classify")
@blueprint.post("/<model:name>/versions/<model:version>:classify")
def classify(name: str, version: str | None = None) -> Response:
    """Classify the image in each of `examples`: pairs of label and score, best first, as many as `top` says."""
    model_named(name, version)
    top = read_top(request.args.get("top"))
    with exchange.admit() as visit:
        _, files = exchange.document(visit, "examples")
        answers = exchange.classify(visit, files, top=top)
    results = exchange.all_results(answers, "examples")
    pairs = [[[p.label, p.probability] for p in result.predictions] for result in results]
    return _answer({"results": pairs}, results)


def _answer(body: dict[str, Any], results: list[Result]) -> Response:
    if any(result.facts.get("weights") == "random" for result in results):
        # One more key, that clients pass over: the numbers of a model that has learnt nothing are no answer.
        body["weights"] = "random"
    return jsonify(body)


def _signatures(model: ServedModel) -> dict[str, Any]:
    width, height = model.size
    probabilities = _tensor("probabilities", "DT_FLOAT", -1, model.classes)
    return {
        FILES_SIGNATURE: _signature(
            {"image_bytes": _tensor("image_bytes", "DT_STRING", -1)},
            {"classes": _tensor("classes", "DT_INT64", -1), "probabilities": probabilities},
        ),
        TENSOR_SIGNATURE: _signature(
            {"image": _tensor("image", "DT_FLOAT", -1, height, width, 3)}, {"probabilities": probabilities}
        ),
    }


def _signature(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict"}


def _tensor(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": f"{name}:0"}
