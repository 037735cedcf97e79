"""What Prometheus is told of one worker process, on a port of its own (METRICS_PORT).

The web servers' /metrics tell of the queue and of all workers together; this is for telling one worker from another.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values
from prometheus_client.exposition import choose_encoder

from imagequeue.batch import Outcome
from imagequeue.events import log, warn
from imagequeue.metrics import BATCH_BUCKETS, SECONDS_BUCKETS
from imagequeue.scrapeserver import ScrapeServer

# The workers of a machine share METRICS_PORT: each takes the first free one of so many from there on.
MOST_PORTS = 64


class WorkerMetrics:
    """What one worker process counts of its own work."""

    def __init__(self) -> None:
        # PROMETHEUS_MULTIPROC_DIR, if it is set here, means the web servers.
        values.ValueClass = values.MutexValue
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._images = Counter(
            "imagequeue_worker_images", "Images by what became of them.", ["outcome"], registry=self.registry
        )
        self._inference = Histogram(
            "imagequeue_worker_inference_seconds",
            "What the model took for a batch.",
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "imagequeue_worker_batch_size", "Images in a batch.", buckets=BATCH_BUCKETS, registry=self.registry
        )
        self._waited = Histogram(
            "imagequeue_worker_queue_seconds",
            "How long an image had waited when it was claimed.",
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        for outcome in ("completed", "failed"):
            self._images.labels(outcome)

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """A batch has been computed."""
        good = [outcome.result.facts for outcome in outcomes if not outcome.reason]
        self._batches.observe(len(outcomes))
        self._images.labels("completed").inc(len(good))
        self._images.labels("failed").inc(len(outcomes) - len(good))
        for facts in good:
            self._waited.observe(facts["queued_ms"] / 1000)
        if good:
            self._inference.observe(good[0]["inference_ms"] / 1000)

    def serve(self, host: str, port: int) -> ScrapeServer | None:
        """Answer Prometheus on the first free port from `port` on; None, after a warning, if there is none.

        Not being watched is no reason not to work.
        """
        for candidate in range(port, min(port + MOST_PORTS, 65536)):
            try:
                server = ScrapeServer(host, candidate, self._page)
            except OSError as error:
                reason = error
                continue
            server.start()
            log("metrics", address=f"{host}:{candidate}")
            return server
        warn("metrics_not_served", host=host, port=port, reason=str(reason))
        return None

    def _page(self, accept: str) -> tuple[bytes, str]:
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # The library trips over parameters of a type that it does not know.
            encode, content_type = choose_encoder("")
        return encode(self.registry), content_type
