"""/jobs/<id>/trace: one image's way, step by step; JSON for programs, a waterfall for people."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, make_response, render_template, request

from imagequeue.connections import connect
from imagequeue.errors import NotFound, Unauthorized
from imagequeue.jobqueue import JobQueue
from imagequeue.trace import Trace
from imagequeue.tracestore import TraceWriter, find
from imagequeue.web import exchange
from imagequeue.web.answer import Answer
from imagequeue.web.classifier import Classifier
from imagequeue.web.jobs import checked
from imagequeue.web.owner import without_host

# The picture's own units.
WIDTH = 1000
# By what the time was spent on; the page's style sheet has their colours.
KINDS = {
    "decoded": "decoding",
    "enqueued": "travelling",
    "claimed": "waiting",
    "predicted": "computing",
    "stored": "travelling",
    "published": "travelling",
    "woken": "travelling",
    "answered": "travelling",
}

blueprint = Blueprint("traces", __name__)


@blueprint.get("/jobs/<job_id>/trace")
def show(job_id: str) -> Response:
    """The steps of a job's way, when each was reached, and who took it."""
    is_kept = "traces" in current_app.extensions
    # Somebody else's job is answered as one that does not exist, and as fast: its id alone decides.
    is_readable = exchange.owner().owns(checked(job_id)) and is_kept
    trace = find(exchange.classifier().queue, job_id) if is_readable else None
    if trace is None:
        why = "it was never accepted, is not answered yet, or was answered too long ago" if is_kept else "TRACES is off"
        raise NotFound(f"There is no trace of this job: {why}.")
    account = trace.described()
    if not exchange.owner().sees_all:
        _hide_hosts(account)
    response = _page(account) if _is_for_people() else jsonify({"success": True, **account})
    response.headers.add("Vary", "Accept")
    return response


def _hide_hosts(account: dict[str, Any]) -> None:
    account["web"] = without_host(account["web"])
    for step in account["steps"]:
        if step.get("worker"):
            step["worker"] = without_host(step["worker"])


@blueprint.after_request
def ask_for_key(response: Response) -> Response:
    """A browser that follows a link carries no key: its 401 is a page that has one, or asks for it, and comes again."""
    if response.status_code == Unauthorized.status and _is_for_people():
        response.set_data(render_template("locked.html"))
        response.mimetype = "text/html"
        response.headers.add("Vary", "Accept")
    return response


def _is_for_people() -> bool:
    return request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html"


def writer(classifier: Classifier) -> TraceWriter[Answer]:
    """What keeps the traces of `classifier`'s answers."""

    def queue() -> JobQueue:
        name = f"traces:{classifier.web_id}"
        return JobQueue(
            connect(classifier.redis_url, name=name), classifier.queue_name, result_ttl=classifier.result_ttl
        )

    return TraceWriter(queue, lambda answer: trace_of(answer, classifier.web_id))


def is_traced(answer: Answer) -> bool:
    """It has a way of its own: Redis had it, and no other image's answer served for it."""
    return bool(answer.id and answer.enqueued_at and answer.came_by != "cache")


def trace_of(answer: Answer, web: str) -> Trace:
    # The middle of the round trip is when Redis had the job.
    enqueued = answer.enqueued_at - answer.enqueue_ms / 2000

    def since(instant: float) -> float:
        return round((instant - enqueued) * 1000, 3)

    closed = answer.entered + answer.total_ms / 1000
    return Trace(
        id=answer.id,
        web=web,
        at=round(time.time() - (time.perf_counter() - enqueued), 3),
        received_ms=since(answer.entered),
        decode_ms=round(answer.decode_ms, 3),
        enqueue_ms=round(answer.enqueue_ms, 3),
        answered_ms=since(closed),
        woken_ms=since(answer.woken_at) if answer.woken_at else None,
        by=answer.came_by,
        status=answer.status,
        error=answer.error.code if answer.error is not None else "",
        facts=answer.result.facts if answer.result is not None else {},
    )


def _page(account: dict[str, Any]) -> Response:
    # An interval of nothing is still to be seen.
    scale = WIDTH / max(account["total_ms"], 0.001)
    rows = [
        step
        | {
            "kind": KINDS.get(step["name"], "travelling"),
            "x": round(begun * scale, 1),
            "width": round(max(3.0, step["ms"] * scale), 1),
            "facts": [
                (name.replace("_", " "), value)
                for name, value in step.items()
                if name not in ("name", "at_ms", "ms") and value is not None
            ],
        }
        for begun, step in zip([0.0, *(step["at_ms"] for step in account["steps"])], account["steps"], strict=False)
    ]
    return make_response(render_template("trace.html", trace=account, rows=rows, width=WIDTH))
