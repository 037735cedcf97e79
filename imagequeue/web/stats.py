"""GET /stats: what goes on, as JSON for people and the dashboard.

Made anew every half second at most, from one command to Redis, however many look. The queue, the workers and the
counters are everybody's; latency and the latest requests are those of this server, all its processes together.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from flask import Blueprint, Response, current_app, json
from flask.blueprints import BlueprintSetupState

from imagequeue.overview import FRESH_SECONDS, LiveWorker
from imagequeue.web.classifier import Classifier
from imagequeue.web.recent import Recent

LATEST = 50

blueprint = Blueprint("stats", __name__)


class Page:
    """The body of the answer, kept while it is fresh."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._body = ""
        self._made_at = -FRESH_SECONDS

    def body(self, classifier: Classifier, recent: Recent) -> str:
        """Raises RedisDown."""
        with self._lock:
            if time.monotonic() - self._made_at >= FRESH_SECONDS:
                self._body = json.dumps(describe(classifier, recent))
                self._made_at = time.monotonic()
            return self._body


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions["stats"] = Page()


@blueprint.get("/stats")
def stats() -> Response:
    """What goes on: the queue, the workers, the counters, the latest answers."""
    page: Page = current_app.extensions["stats"]
    body = page.body(current_app.extensions["classifier"], current_app.extensions["recent"])
    response = Response(body, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def describe(classifier: Classifier, recent: Recent) -> dict[str, Any]:
    """Times in seconds, latency in ms. Raises RedisDown."""
    overview = classifier.lookout.latest()
    answers = recent.read()
    rates = {"drained_per_s": overview.drained_per_s} | {
        f"{counter}_per_s": classifier.lookout.rate(counter) for counter in ("enqueued", "completed", "refused")
    }
    return {
        "time": overview.at,
        "depth": overview.depth,
        "suspects": overview.suspects,
        "oldest_age": overview.oldest_age,
        "live_workers": overview.live_workers,
        "workers": [_described(worker) for worker in overview.workers],
        "counters": dict(overview.counters),
        "dead_kept": overview.dead,
        "rates": {name: None if rate is None else round(rate, 2) for name, rate in rates.items()},
        "batch_sizes": {str(size): count for size, count in overview.batch_sizes.items()},
        "latency": answers.latency(),
        "requests": answers.latest(LATEST),
        "web_pid": os.getpid(),
    }


def _described(worker: LiveWorker) -> dict[str, Any]:
    return {"id": worker.id, "is_live": worker.is_live, "lease_left": round(worker.lease_left, 2), **worker.facts}
