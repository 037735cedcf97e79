"""Pages of other origins that may call this server, where CORS_ORIGINS names them; none by default."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response, current_app, request
from flask_cors import CORS

# What a script of another origin may read of an answer, besides the few headers that it always may.
EXPOSED = (
    "Location",
    "Preference-Applied",
    "Retry-After",
    "Server-Timing",
    "X-Request-ID",
    "traceparent",
    "Inference-Header-Content-Length",
)
PREFLIGHT_SECONDS = 600


def allow_origins(app: Flask, origins: Sequence[str]) -> None:
    """origins: as `https://example.org`, or `*` for every one. Call it before other before_request functions."""
    if not origins:
        return
    app.before_request(_answer_preflight)
    CORS(app, origins=list(origins), expose_headers=list(EXPOSED), max_age=PREFLIGHT_SECONDS)


def _answer_preflight() -> Response | None:
    """At once: a browser sends it without the API key that the request itself will carry."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return current_app.make_default_options_response() if is_preflight else None
