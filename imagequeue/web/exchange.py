"""What all endpoints that take images share: the account of a request in the log, and of its time in the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from flask import current_app, g, request

from imagequeue.errors import BadImage, BadRequest
from imagequeue.events import log
from imagequeue.job import Result
from imagequeue.web.access import Access
from imagequeue.web.admission import Visit
from imagequeue.web.answer import Answer
from imagequeue.web.bodies import read_body
from imagequeue.web.classifier import Classifier
from imagequeue.web.decoding.documents import Document
from imagequeue.web.owner import EVERYBODY, Owner
from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.uploads import json_limit


def classifier() -> Classifier:
    """The one of this application."""
    found: Classifier = current_app.extensions["classifier"]
    return found


def admit() -> Visit:
    """Let the request in, its body unread. Raises Unavailable."""
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, PacedSocket) and connection.refusal is not None:
        raise type(connection.refusal)(connection.refusal.message, connection.refusal.retry_after)
    visit = classifier().admit(request.content_length)
    visit.owner = owner()
    if isinstance(connection, PacedSocket):
        visit.came = connection.came or visit.came
        visit.on_decoded = connection.settle
        visit.client = connection
    return visit


def document(visit: Visit, format: str, header_length: str | None = None) -> Document:
    """What the request's JSON asks for, and the image files in it; see documents.

    Raises BadRequest, TooLarge, TooSlow, Unsupported, DeadlineExceeded, ClientGone, ServerBusy.
    """
    serving = classifier()
    body = read_body(request, json_limit(serving.max_upload_bytes))
    return body.document(serving.reader(visit), format, header_length)


def owner() -> Owner:
    """The owner of the jobs that this request sends, and of those that it may see."""
    found: Owner = g.get("owner", EVERYBODY)
    return found


def request_fields() -> dict[str, Any]:
    """What names the request in a log line."""
    return {"request": g.request_id, "trace": g.trace.trace_id}


def classify(visit: Visit, uploads: list[bytes], *, top: int) -> list[Answer]:
    """One answer for each image file, in order; see Classifier.classify."""
    _received(uploads)
    answers = classifier().classify(visit, uploads, top=top, log_fields=request_fields())
    for answer in answers:
        log("answered", job=answer.id, **request_fields(), **_outcome(answer))
    g.server_timing = _spans(answers)
    return answers


def all_results(answers: Sequence[Answer], where: str) -> list[Result]:
    """The results, for protocols in which a request succeeds or fails as a whole.

    Raises the first error; BadImage as BadRequest, saying in which of the images of `where`.
    """
    results = []
    for i, answer in enumerate(answers):
        if isinstance(answer.error, BadImage):
            raise BadRequest(f"{where}[{i}]: {answer.error.message}")
        if answer.error is not None:
            raise answer.error
        assert answer.result is not None
        results.append(answer.result)
    return results


def submit(visit: Visit, uploads: list[bytes], *, top: int) -> list[Answer]:
    """Each image file enqueued and nothing waited for: an answer has an id, or an error."""
    _received(uploads)
    answers = classifier().submit(visit, uploads, top=top, log_fields=request_fields())
    g.server_timing = {"decode": max(answer.decode_ms for answer in answers)}
    return answers


def server_timing() -> str:
    """The header of that name for the request that ends now, ms (W3C Server Timing)."""
    spans = g.get("server_timing", {}) | {"total": elapsed_ms()}
    return ", ".join(f"{name};dur={ms:.1f}" for name, ms in spans.items())


def elapsed_ms() -> float:
    began: float = g.started
    return (time.perf_counter() - began) * 1000


def _received(uploads: Sequence[bytes]) -> None:
    """Before anything is decoded. Raises TooMany, TooLarge."""
    log("received", **request_fields(), images=len(uploads), bytes=sum(map(len, uploads)))
    access: Access | None = current_app.extensions["access"]
    if access is not None:
        access.charge(len(uploads))


def _outcome(answer: Answer) -> dict[str, Any]:
    ms = round(elapsed_ms(), 1)
    if answer.error is not None:
        return {"error": answer.error.code, "ms": ms}
    assert answer.result is not None
    best = answer.result.predictions[0]
    return {"label": best.label, "probability": round(best.probability, 4), "by": answer.came_by, "ms": ms}


def _spans(answers: Sequence[Answer]) -> dict[str, float]:
    """The slowest of each stage among the images of a request."""
    facts = [answer.result.facts for answer in answers if answer.result is not None]
    return {
        "decode": max(answer.decode_ms for answer in answers),
        "queue": max((f.get("queued_ms", 0) for f in facts), default=0),
        "inference": max((f.get("inference_ms", 0) for f in facts), default=0),
    }
