"""What people look at: the page at /, and the dashboard.

Their scripts ask /predict and /stats, as any client does.
"""

from __future__ import annotations

from flask import Blueprint, Response, current_app, make_response, render_template, request

from imagequeue.errors import RedisDown
from imagequeue.web.classifier import Classifier
from imagequeue.web.samples import Samples

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> Response:
    classifier: Classifier = current_app.extensions["classifier"]
    samples: Samples = current_app.extensions["samples"]
    return _page(
        "index.html",
        max_upload_bytes=classifier.max_upload_bytes,
        samples=samples.names,
        are_weights_random=_are_weights_random(classifier),
    )


@blueprint.get("/dashboard")
def dashboard() -> Response:
    return _page("dashboard.html")


def _are_weights_random(classifier: Classifier) -> bool:
    """Whether a worker has such weights; then nobody is to be surprised by the labels."""
    try:
        workers = classifier.lookout.latest().workers
    except RedisDown:
        # The page says so once an image is sent.
        return False
    return any(worker.facts.get("weights") == "random" for worker in workers)


def _page(template: str, **values: object) -> Response:
    response = make_response(render_template(template, **values))
    # Asked for again each time, and answered with 304 while it is the same.
    response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response
