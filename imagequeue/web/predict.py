"""POST /predict: the project's own format, and the tutorial's."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request

from imagequeue.errors import BadRequest, ImageQueueError
from imagequeue.events import log
from imagequeue.web.classifier import Answer, Classifier
from imagequeue.web.uploads import read_uploads

MAX_TOP = 1000
DEFAULT_TOP = 5

blueprint = Blueprint("predict", __name__)


@blueprint.post("/predict")
def predict() -> Response:
    classifier: Classifier = current_app.extensions["classifier"]
    top = _top(request.args.get("top"))
    with classifier.admit(request.content_length) as visit:
        uploads, is_single = read_uploads(request, classifier.max_upload_bytes)
        log("received", request=g.request_id, images=len(uploads), bytes=sum(map(len, uploads)))
        answers = classifier.classify(visit, uploads, top=top, request_id=g.request_id)
    for answer in answers:
        log("answered", job=answer.id, request=g.request_id, **_outcome(answer))
    errors = [answer.error for answer in answers if answer.error is not None]
    # A request of which nothing came is refused as a whole, so that clients that look at the status see it.
    if errors and len(errors) == len(answers):
        g.job_id = answers[0].id
        raise errors[0]
    response = jsonify(
        {"success": True, **_described(answers[0])}
        if is_single
        else {"success": True, "results": [_described(answer) for answer in answers]}
    )
    response.headers["Server-Timing"] = _server_timing(answers)
    return response


def _top(text: str | None) -> int:
    if text is None:
        return DEFAULT_TOP
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_TOP:
        raise BadRequest(f"top={text[:20]!r} is no whole number from 1 to {MAX_TOP}.")
    return int(text)


def _outcome(answer: Answer) -> dict[str, Any]:
    ms = round((time.perf_counter() - g.started) * 1000, 1)
    if answer.error is not None:
        return {"error": answer.error.code, "ms": ms}
    assert answer.result is not None
    best = answer.result.predictions[0]
    return {"label": best.label, "probability": round(best.probability, 4), "by": answer.came_by, "ms": ms}


def _described(answer: Answer) -> dict[str, Any]:
    if answer.error is not None or answer.result is None:
        return {"error": error_body(answer.error or ImageQueueError("No result.")), "id": answer.id}
    facts = answer.result.facts
    described: dict[str, Any] = {
        "predictions": [{"label": p.label, "probability": p.probability} for p in answer.result.predictions],
        "id": answer.id,
        "model": facts.get("model"),
    }
    if facts.get("weights") == "random":
        # Labels of a model that has learnt nothing must not be taken for an answer.
        described["weights"] = "random"
    return described


def error_body(error: ImageQueueError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


def _server_timing(answers: list[Answer]) -> str:
    """The slowest of each stage among the images of a request, in ms (W3C Server Timing)."""
    facts = [answer.result.facts for answer in answers if answer.result is not None]
    spans = {
        "decode": max(answer.decode_ms for answer in answers),
        "queue": max((f.get("queued_ms", 0) for f in facts), default=0),
        "inference": max((f.get("inference_ms", 0) for f in facts), default=0),
        "total": (time.perf_counter() - g.started) * 1000,
    }
    return ", ".join(f"{name};dur={ms:.1f}" for name, ms in spans.items())
