"""GET /stats: what goes on, as JSON for people and the dashboard.

Made anew every half second at most, from one command to Redis, however many look. The queue, the workers and the
counters are everybody's; latency and the latest requests are those of this server, all its processes together. Where
API keys are required, the requests are the caller's own, and hosts and process ids are shown to admins alone.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from flask import Blueprint, Response, current_app, json
from flask.blueprints import BlueprintSetupState

from imagequeue.overview import FRESH_SECONDS, LiveWorker
from imagequeue.web import exchange
from imagequeue.web.classifier import Classifier
from imagequeue.web.owner import Owner, without_host
from imagequeue.web.recent import Answers, Recent

LATEST = 50
# Of what a worker says of itself: where it runs.
PLACES = frozenset({"host", "pid"})

blueprint = Blueprint("stats", __name__)


class Page:
    """The bodies of the answer, kept while they are fresh: one for each owner that has asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[str, Any] = {}
        self._answers = Answers([], 0.0)
        self._bodies: dict[tuple[str, bool], str] = {}
        self._made_at = -FRESH_SECONDS

    def body(self, classifier: Classifier, recent: Recent, owner: Owner) -> str:
        """Raises RedisDown."""
        with self._lock:
            if time.monotonic() - self._made_at >= FRESH_SECONDS:
                self._answers = recent.read()
                self._shared = describe(classifier, self._answers)
                self._bodies = {}
                self._made_at = time.monotonic()
            key = (owner.name, owner.sees_all)
            if key not in self._bodies:
                requests = self._answers.latest(LATEST, owner)
                shared = self._shared if owner.sees_all else _without_hosts(self._shared)
                self._bodies[key] = json.dumps(shared | {"requests": requests})
            return self._bodies[key]


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions["stats"] = Page()


@blueprint.get("/stats")
def stats() -> Response:
    """What goes on: the queue, the workers, the counters, the latest answers."""
    page: Page = current_app.extensions["stats"]
    body = page.body(exchange.classifier(), current_app.extensions["recent"], exchange.owner())
    response = Response(body, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def describe(classifier: Classifier, answers: Answers) -> dict[str, Any]:
    """All but the latest requests. Times in seconds, latency in ms. Raises RedisDown."""
    overview = classifier.lookout.latest()
    rates = {"drained_per_s": overview.drained_per_s} | {
        f"{counter}_per_s": classifier.lookout.rate(counter) for counter in ("enqueued", "completed", "refused")
    }
    return {
        "time": overview.at,
        "depth": overview.depth,
        "suspects": overview.suspects,
        "oldest_age": overview.oldest_age,
        "wait": round(overview.wait, 2),
        "live_workers": overview.live_workers,
        "workers": [_described(worker) for worker in overview.workers],
        "counters": dict(overview.counters),
        "dead_kept": overview.dead,
        "rates": {name: None if rate is None else round(rate, 2) for name, rate in rates.items()},
        "batch_sizes": {str(size): count for size, count in overview.batch_sizes.items()},
        "latency": answers.latency(),
        "web_pid": os.getpid(),
    }


def _without_hosts(shared: dict[str, Any]) -> dict[str, Any]:
    """For an ordinary key: what the workers are, not where."""
    workers = [
        {name: fact for name, fact in worker.items() if name not in PLACES} | {"id": without_host(worker["id"])}
        for worker in shared["workers"]
    ]
    return shared | {"workers": workers, "web_pid": None}


def _described(worker: LiveWorker) -> dict[str, Any]:
    return {"id": worker.id, "is_live": worker.is_live, "lease_left": round(worker.lease_left, 2), **worker.facts}
