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
    is_everybody = "*" in origins
    app.before_request(_answer_preflight)
    CORS(
        app,
        origins=list(origins),
        expose_headers=list(EXPOSED),
        max_age=PREFLIGHT_SECONDS,
        # To everybody the same `*`; by default it would be the origin that asked, where one is named.
        send_wildcard=is_everybody,
        # By default a request without an Origin is told all that are allowed, in a header each, which no browser reads.
        always_send=is_everybody,
        # It would leave Vary out where a single origin is allowed, or another one asks.
        vary_header=False,
    )
    if not is_everybody:
        app.after_request(_name_origin)


def fields_without_origin(origins: Sequence[str]) -> dict[str, str]:
    """The fields that the answer to a request without an Origin has, where these may call."""
    if "*" in origins:
        return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": ", ".join(sorted(EXPOSED))}
    return {"Vary": "Origin"} if origins else {}


def _name_origin(response: Response) -> Response:
    """A cache must not give one origin's answer to another, nor that of a request without an Origin."""
    response.headers.add("Vary", "Origin")
    return response


def _answer_preflight() -> Response | None:
    """At once: a browser sends it without the API key that the request itself will carry."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return current_app.make_default_options_response() if is_preflight else None
