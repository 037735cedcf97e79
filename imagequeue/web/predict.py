"""POST /predict: the project's own format, and the tutorial's."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, g, jsonify, request, url_for
from werkzeug.http import parse_options_header

from imagequeue.errors import BadRequest, ImageQueueError
from imagequeue.job import Result
from imagequeue.web import exchange
from imagequeue.web.answer import Answer
from imagequeue.web.uploads import read_uploads

MAX_TOP = 1000
DEFAULT_TOP = 5

blueprint = Blueprint("predict", __name__)


# Whoever writes a slash behind it means the same.
@blueprint.post("/predict", strict_slashes=False)
def predict() -> Response:
    """Classify one image or several; with `Prefer: respond-async`, accept them and answer at once."""
    top = read_top(request.args.get("top"))
    is_async = _prefers_async(request.headers.getlist("Prefer"))
    with exchange.admit() as visit:
        classifier = exchange.classifier()
        uploads, is_single = read_uploads(request, classifier.max_upload_bytes, classifier.reader(visit))
        work = exchange.submit if is_async else exchange.classify
        answers = work(visit, uploads, top=top)
    _raise_if_all_failed(answers)
    described = [_accepted(answer) if is_async else _described(answer) for answer in answers]
    response = jsonify({"success": True, **described[0]} if is_single else {"success": True, "results": described})
    response.headers.add("Vary", "Prefer")
    if is_async:
        response.status_code = 202
        response.headers["Preference-Applied"] = "respond-async"
        if is_single:
            response.headers["Location"] = described[0]["location"]
    return response


def read_top(text: str | None) -> int:
    """The parameter `top`. Raises BadRequest."""
    if text is None:
        return DEFAULT_TOP
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_TOP:
        raise BadRequest(f"top={text[:20]!r} is no whole number from 1 to {MAX_TOP}.")
    return int(text)


def _prefers_async(headers: list[str]) -> bool:
    """RFC 7240. `wait` is not waited for: who wants to wait sends no such preference."""
    preferences = [parse_options_header(preference)[0] for header in headers for preference in header.split(",")]
    return "respond-async" in (preference.strip().lower() for preference in preferences)


def _raise_if_all_failed(answers: list[Answer]) -> None:
    """A request of which nothing came is refused as a whole, so that clients that look at the status see it."""
    errors = [answer.error for answer in answers if answer.error is not None]
    if errors and len(errors) == len(answers):
        g.job_id = answers[0].id
        raise errors[0]


def _accepted(answer: Answer) -> dict[str, Any]:
    if answer.error is not None:
        return {"error": error_body(answer.error), "id": answer.id}
    return {"id": answer.id, "state": "waiting", "location": url_for("jobs.show", job_id=answer.id)}


def _described(answer: Answer) -> dict[str, Any]:
    if answer.error is not None or answer.result is None:
        return {"error": error_body(answer.error or ImageQueueError("No result.")), "id": answer.id}
    return describe(answer.result)


def describe(result: Result) -> dict[str, Any]:
    """A result with predictions, as every answer in this format shows it."""
    described: dict[str, Any] = {
        "predictions": [{"label": p.label, "probability": p.probability} for p in result.predictions],
        "id": result.id,
        "model": result.facts.get("model"),
    }
    if result.facts.get("weights") == "random":
        # Labels of a model that has learnt nothing must not be taken for an answer.
        described["weights"] = "random"
    return described


def error_body(error: ImageQueueError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}
