"""What people look at: the page at /, and the dashboard.

The pages hold no numbers themselves; their scripts ask /predict and /stats, as any client does.
"""

from __future__ import annotations

from flask import Blueprint, Response, current_app, make_response, render_template, request

from imagequeue.web.classifier import Classifier
from imagequeue.web.samples import Samples

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> Response:
    classifier: Classifier = current_app.extensions["classifier"]
    samples: Samples = current_app.extensions["samples"]
    return _page("index.html", max_upload_bytes=classifier.max_upload_bytes, samples=samples.names)


@blueprint.get("/dashboard")
def dashboard() -> Response:
    return _page("dashboard.html")


def _page(template: str, **values: object) -> Response:
    response = make_response(render_template(template, **values))
    # Asked for again each time, and answered with 304 while it is the same.
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response
