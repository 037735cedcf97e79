"""The probes: /livez says that this process runs, /readyz that a request sent now would be served."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from imagequeue.web.classifier import Classifier

blueprint = Blueprint("health", __name__)


@blueprint.get("/livez")
def livez() -> Response:
    """Whether this process runs."""
    return jsonify({"status": "alive"})


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Whether a request sent now would be served; if not, why."""
    classifier: Classifier = current_app.extensions["classifier"]
    reason = classifier.why_not_ready()
    if reason:
        return jsonify({"status": "not ready", "reason": reason}), 503
    return jsonify({"status": "ready"}), 200
