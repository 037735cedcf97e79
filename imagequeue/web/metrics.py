"""GET /metrics for Prometheus, true for all Gunicorn processes together, whichever of them answers.

prometheus_client keeps each process's numbers in files of the directory PROMETHEUS_MULTIPROC_DIR, mapped into memory,
and adds them up when it is asked. What a dead process counted stays counted; what it had in flight does not.
Without that variable the numbers are this process's own, which is right where there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from imagequeue.errors import Unavailable
from imagequeue.events import warn
from imagequeue.metrics import SECONDS_BUCKETS, QueueCollector
from imagequeue.web.answer import Answer
from imagequeue.web.classifier import Classifier
from imagequeue.web.processes import is_alive
from imagequeue.web.shareddirectory import DIRECTORY_VARIABLE

# Requests to no route share one series: an attacker's paths must not make one each.
NO_ROUTE = "(none)"

blueprint = Blueprint("metrics", __name__)


class WebMetrics:
    """The meters of one process; `directory` is the one that it shares with its siblings, if there is one."""

    def __init__(self, classifier: Classifier) -> None:
        named = os.environ.get(DIRECTORY_VARIABLE, "")
        self.directory = Path(named) if named else None
        # The library chooses on import, which may have been before the script made the directory.
        if values.ValueClass._multiprocess != bool(self.directory):
            values.ValueClass = values.MultiProcessValue() if self.directory else values.MutexValue
        # Their instants would double the number of series.
        disable_created_metrics()
        own = CollectorRegistry()
        self._requests = Counter(
            "imagequeue_http_requests", "Requests by route and status.", ["route", "code"], registry=own
        )
        self._in_flight = Gauge(
            "imagequeue_http_requests_in_flight",
            "Requests that are being served.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self._refused = Counter(
            "imagequeue_http_refused",
            "Requests refused with 503, by reason; counted in http_requests too.",
            ["reason"],
            registry=own,
        )
        self._images = Counter(
            "imagequeue_images",
            "Images by what became of them: answered, cached, accepted (to be asked for later), or the error's code.",
            ["outcome"],
            registry=own,
        )
        self._stages = Histogram(
            "imagequeue_stage_seconds",
            "How long answered images spent in each stage.",
            ["stage"],
            buckets=SECONDS_BUCKETS,
            registry=own,
        )
        self._own = own
        self._queue = QueueCollector(classifier.lookout.latest)
        self._is_told = False
        classifier.on_answer.append(self._answered)

    def open(self) -> None:
        """Make the files of this process now, where the metrics lie in files: a disk may be full later."""
        with self._harmless():
            self._in_flight.inc(0)
            self._images.labels("answered").inc(0)
            # A histogram's file is made with its first value.
            self._stages.labels("total")

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """What is counted is no reason to fail a request: a file that cannot be made or grow is told of once."""
        try:
            yield
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                warn("metrics_not_counted", directory=self.directory, reason=str(error))

    def watch(self, app: Flask) -> None:
        """Count every request of `app` from now on."""
        app.before_request(self._begin)
        app.after_request(self._finish)
        app.teardown_request(self._end)

    def refused(self, error: Unavailable) -> None:
        with self._harmless():
            self._refused.labels(error.code).inc()

    def rebuffed(self, route: str, error: Unavailable) -> None:
        """One more request that was refused before the application saw it."""
        with self._harmless():
            self._requests.labels(route, str(error.status)).inc()
        self.refused(error)

    def probed(self, route: str, code: str) -> None:
        """One more probe that the event loop has answered."""
        with self._harmless():
            self._requests.labels(route, code).inc()

    def _begin(self) -> None:
        with self._harmless():
            self._in_flight.inc()
            g.is_in_flight = True

    def _finish(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else NO_ROUTE
        with self._harmless():
            self._requests.labels(route, str(response.status_code)).inc()
        return response

    def _end(self, error: BaseException | None) -> None:
        if g.pop("is_in_flight", False):
            with self._harmless():
                self._in_flight.dec()

    def _answered(self, answer: Answer) -> None:
        with self._harmless():
            self._count(answer)

    def _count(self, answer: Answer) -> None:
        if answer.error is not None:
            self._images.labels(answer.error.code).inc()
            return
        if answer.result is None:
            self._images.labels("accepted").inc()
            return
        if answer.came_by == "cache":
            # It went through none of the stages between.
            self._images.labels("cached").inc()
            self._stages.labels("total").observe(answer.total_ms / 1000)
            return
        self._images.labels("answered").inc()
        for stage, ms in answer.stages().items():
            self._stages.labels(stage).observe(ms / 1000)

    def registry(self) -> CollectorRegistry:
        """All there is to tell, collected when it is written out."""
        registry = CollectorRegistry()
        if self.directory:
            bury_dead_processes(self.directory)
            MultiProcessCollector(registry, str(self.directory))
        else:
            registry.register(self._own)
        registry.register(self._queue)
        return registry


def bury_dead_processes(directory: Path) -> None:
    """Forget what processes that are no more had in flight."""
    for file in directory.glob("gauge_live*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not is_alive(int(pid)):
            mark_process_dead(pid, str(directory))


@blueprint.get("/metrics")
def metrics() -> Response:
    """The numbers that Prometheus collects."""
    meters: WebMetrics = current_app.extensions["metrics"]
    try:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    except TypeError:
        # The library trips over parameters of a type that it does not know.
        encode, content_type = choose_encoder("")
    return Response(encode(meters.registry()), content_type=content_type)
