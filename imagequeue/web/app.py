"""The application: its views, the request's id on every answer, and the one place where errors become JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, NotFound

from imagequeue.errors import BadRequest, ClientError, ImageQueueError, Unavailable
from imagequeue.events import LOGGER, log, warn
from imagequeue.web import (
    exchange,
    headers,
    health,
    jobs,
    metrics,
    openapi,
    pages,
    predict,
    samples,
    stats,
    tfserving,
    tracecontext,
    traces,
    v2,
)
from imagequeue.web.access import Access
from imagequeue.web.classifier import Classifier
from imagequeue.web.cors import allow_origins, fields_without_origin
from imagequeue.web.errorbody import error_document
from imagequeue.web.hosts import Hosts
from imagequeue.web.pacedsocket import PacedSocket
from imagequeue.web.rebuff import Rebuffs
from imagequeue.web.recent import Recent
from imagequeue.web.rootpath import RootPath
from imagequeue.web.uploads import MemoryRequest

# How much of a refused body is read and thrown away, so that the client hears the reason, not a broken pipe.
MAX_DISCARDED = 64 * 2**20


def create_app(
    classifier: Classifier,
    access: Access | None = None,
    *,
    cors_origins: Sequence[str] = (),
    samples_directory: Path | None = None,
    is_tracing: bool = True,
    hosts: Hosts | None = None,
    root_path: str = "",
) -> Flask:
    """A Flask application over `classifier`. Starts nothing: the first request does, in the process it is in.

    access: who may ask, and how often; without it everybody may. cors_origins: whose pages may, see cors.
    samples_directory: PNG files that the page offers to whoever has no picture at hand. is_tracing: keep each job's
    trace for as long as its result. hosts: by which names it may be asked for; without it by all. root_path: the prefix
    of all its paths.
    """
    app = Flask("imagequeue.web")
    app.request_class = MemoryRequest
    # No redirect to the path with one slash for two: it would be HTML, made of whatever host the client names.
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["classifier"] = classifier
    app.extensions["metrics"] = meters = metrics.WebMetrics(classifier)
    app.extensions["recent"] = recent = Recent(meters.directory)
    classifier.on_answer.append(recent.add)
    # First, so that what is refused later on is counted too.
    meters.watch(app)
    if is_tracing:
        app.extensions["traces"] = writer = traces.writer(classifier)
        classifier.on_answer.append(lambda answer: writer.add(answer) if traces.is_traced(answer) else None)
        classifier.on_stop.append(writer.stop)
    app.extensions["samples"] = samples.Samples(samples_directory)
    for module in (predict, jobs, traces, tfserving, v2, health, stats, metrics, openapi, pages, samples):
        app.register_blueprint(module.blueprint)
    app.extensions["access"] = access
    hosts, root = hosts or Hosts(), RootPath(root_path)
    app.extensions["rebuffs"] = Rebuffs(
        app, access, meters, shared_fields=fields_without_origin(cors_origins), hosts=hosts, root=root
    )
    app.before_request(_begin)
    hosts.guard(app)
    root.guard(app)
    allow_origins(app, cors_origins)
    if access is not None:
        access.guard(app)
    app.after_request(_finish)
    app.register_error_handler(ImageQueueError, _known_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)
    return app


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = tracecontext.request_id(request.headers.get("X-Request-ID", ""))
    g.trace = tracecontext.begin(request.headers.get("traceparent", ""))
    # A range would be read for each request, and kept in memory for every client that is slow to receive it.
    request.environ.pop("HTTP_RANGE", None)


def _finish(response: Response) -> Response:
    if "Accept-Ranges" in response.headers:
        response.headers["Accept-Ranges"] = "none"
    response.headers["X-Request-ID"] = g.request_id
    response.headers["traceparent"] = g.trace.header
    response.headers["Server-Timing"] = exchange.server_timing()
    response.headers.update(g.get("headers", {}))
    headers.add_to(response)
    return response


def _known_error(error: ImageQueueError) -> Response:
    log_refusal = log if isinstance(error, ClientError) else warn
    facts: dict[str, Any] = {"status": error.status, "code": error.code, "reason": error.message}
    if not g.get("is_logged"):
        log_refusal("refused", **exchange.request_fields(), **_client(), **facts)
    response = _error_response(error.status, error.code, error.message)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
        current_app.extensions["metrics"].refused(error)
    return response


def _client() -> dict[str, Any]:
    """Who asked, for a log line: the name of an API key or an address; nothing where nobody is asked."""
    return {"client": g.client} if "client" in g else {}


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    try:
        code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    except ValueError:
        code = "error"
    log("refused", **exchange.request_fields(), status=status, code=code, path=request.path[:200])
    message = error.description or code
    if isinstance(error, NotFound) and message == NotFound.description:
        message = f"There is no {request.path[:100]}. Images go to POST /predict; GET /docs shows every path."
    response = _error_response(status, code, message)
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _unexpected_error(error: Exception) -> Response:
    fields = {**exchange.request_fields(), "path": request.path}
    LOGGER.error("unexpected", exc_info=error, extra={"fields": fields})
    return _error_response(500, "internal", f"Something broke here. The log tells more about request {g.request_id}.")


def _error_response(status: int, code: str, message: str) -> Response:
    _discard_body()
    response = jsonify(error_document(request.path, code, message, g.get("job_id") or g.request_id))
    response.status_code = status
    return response


def _discard_body() -> None:
    """Read what the client still sends: a server that closes on it resets the connection, answer and all."""
    # A stream that has no end of its own, as Flask's development server gives, would be waited on for ever.
    stream = request.environ.get("wsgi.input") if request.environ.get("wsgi.input_terminated") else None
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, PacedSocket):
        connection.hurry()
    left = MAX_DISCARDED
    try:
        while stream is not None and left > 0 and (chunk := stream.read(min(left, 64 * 1024))):
            left -= len(chunk)
    except (BadRequest, TimeoutError):
        # Broken there, too, or as slow; the refusal stands.
        return


__all__ = ["create_app"]
