"""GET /openapi.json: this API as OpenAPI 3.1, made from the routes; GET /docs: a page to try it.

Paths, methods and path parameters come from the routes, summaries from the views' docstrings; what neither tells
stands in openapi.yaml beside this file. The page is Swagger UI, whose files lie in static/swagger-ui with their
licence; it asks no other host for anything.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from copy import deepcopy
from importlib import resources
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.routing import Rule

# The methods that Flask adds by itself say nothing of their own.
_IMPLIED = {"HEAD", "OPTIONS"}
_ARGUMENT = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")

_MAKING = threading.Lock()

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
def document() -> Response:
    """This document."""
    app = current_app
    # One thread makes it, and the others take its bytes: it is half a second of a processor.
    with _MAKING:
        if "openapi" not in app.extensions:
            # Without `servers` a program takes the document's host, and no prefix. The prefix is the same for all.
            servers = {"servers": [{"url": request.script_root}]} if request.script_root else {}
            app.extensions["openapi"] = jsonify(describe(app) | servers).get_data()
    return Response(app.extensions["openapi"], content_type="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    """A page to read this document and to try it."""
    return current_app.send_static_file("swagger-ui/index.html")


def describe(app: Flask) -> dict[str, Any]:
    """The document of all of `app`'s routes. Raises KeyError for one of which openapi.yaml says nothing."""
    # Here and not above: a process that nobody asks for the document need not hold them.
    from apispec import APISpec

    told = read_yaml()
    info = told["info"]
    spec = APISpec(
        title=info["title"], version=str(info["version"]), openapi_version="3.1.0", info=info, tags=told["tags"]
    )
    for name, schema in told["schemas"].items():
        spec.components.schema(name, schema)
    for name, parameter in told["parameters"].items():
        spec.components.parameter(name, parameter["in"], parameter)
    for name, header in told["headers"].items():
        spec.components.header(name, header)
    for name, scheme in told["security"].items():
        spec.components.security_scheme(name, scheme)
    for rule in routes(app):
        if rule.endpoint not in told["pages"]:
            spec.path(path=_path(rule), operations=_operations(app, rule, told))
    # No key at all is the default.
    return spec.to_dict() | {"security": [{}, *({name: []} for name in told["security"])]}


def read_yaml() -> dict[str, Any]:
    """What openapi.yaml says."""
    import yaml

    text = (resources.files("imagequeue.web") / "openapi.yaml").read_text(encoding="utf-8")
    told: dict[str, Any] = yaml.safe_load(text)
    return told


def routes(app: Flask) -> Iterator[Rule]:
    """Every route, in the order in which people should read of them."""
    yield from sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule.startswith("/v"), rule.rule))


def _path(rule: Rule) -> str:
    return _ARGUMENT.sub(r"{\1}", rule.rule)


def _operations(app: Flask, rule: Rule, told: dict[str, Any]) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    described = deepcopy(told["operations"][rule.endpoint])
    summary = (view.__doc__ or "").strip().splitlines()[0] if view.__doc__ else ""
    in_path = [
        {"name": name, "in": "path", "required": True, **told["path_parameters"][name]}
        for name in _ARGUMENT.findall(rule.rule)
    ]
    operation = {
        "operationId": _operation_id(rule),
        "summary": summary,
        **{name: value for name, value in described.items() if name in ("tags", "description", "requestBody")},
        "parameters": [*in_path, *described.get("parameters", ())],
        "responses": _responses(described, told),
    }
    return {method.lower(): operation for method in sorted((rule.methods or set()) - _IMPLIED)}


def _operation_id(rule: Rule) -> str:
    """The endpoint's name, and the arguments where it has several routes."""
    arguments = sorted(rule.arguments)
    return "_".join([rule.endpoint.replace(".", "_"), *(["by", *arguments] if arguments else [])])


def _responses(described: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    shape = described.get("errors_as", "Failure")
    responses = dict(described["responses"])
    for status in described.get("errors", ()):
        responses[status] = {
            "description": told["statuses"][status],
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}},
        }
        if status in (429, 503):
            responses[status]["headers"] = {"Retry-After": "RetryAfter"}
    for response in responses.values():
        response["headers"] = {"X-Request-ID": "RequestId"} | response.get("headers", {})
    return {str(status): response for status, response in sorted(responses.items())}
