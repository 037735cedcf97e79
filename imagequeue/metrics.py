"""What Prometheus is told of the queue. Of a web server web/metrics.py tells, of a worker workermetrics.py.

docs/monitoring.md says what each name means. Names follow Prometheus's own advice: base units (seconds), `_total` for
what only grows. Label sets are small on purpose: each one is a time series for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from imagequeue.errors import ImageQueueError
from imagequeue.overview import Overview

# From a small image on an idle system to the longest that anybody waits.
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_COUNTED = {
    "enqueued": "Images that the queue took.",
    "completed": "Images that were classified.",
    "expired": "Images whose deadline passed before a worker saw them.",
    "too_late": "Images that were not computed because too little time was left before their deadline.",
    "refused": "Images that the queue refused: it was full, or they would have been late.",
    "failed": "Images that the model failed on.",
    "crashes": "Times that a worker died while holding an image.",
    "convicted": "Images given up because their workers kept dying.",
    "dead": "Documents put aside for inspection.",
}


class QueueCollector(Collector):
    """The queue as Redis has it, asked when Prometheus asks: the same from every web server."""

    def __init__(self, latest: Callable[[], Overview]) -> None:
        """latest: raises an ImageQueueError when Redis cannot be asked; only redis_up is told then."""
        self._latest = latest

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask Redis."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            overview = self._latest()
        except ImageQueueError:
            yield _gauge("redis_up", "1 while Redis answers this web server, else 0.", 0)
            return
        yield _gauge("redis_up", "1 while Redis answers this web server, else 0.", 1)
        yield _gauge("queue_depth", "Images that wait.", overview.depth)
        yield _gauge("queue_suspects", "Images that wait alone because their worker died.", overview.suspects)
        yield _gauge("queue_oldest_age_seconds", "How long the oldest waiting image has waited.", overview.oldest_age)
        yield _gauge("queue_wait_seconds", "How long a new image would wait, by the drain rate.", overview.wait)
        yield _gauge("live_workers", "Workers that hold a lease.", overview.live_workers)
        yield _gauge("dead_kept", "Documents that lie aside for inspection.", overview.dead)
        for counter, text in _COUNTED.items():
            yield CounterMetricFamily(f"imagequeue_jobs_{counter}", text, overview.counters[counter])
        yield _batch_sizes(overview)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"imagequeue_{name}", text, value)


def _batch_sizes(overview: Overview) -> HistogramMetricFamily:
    sizes = overview.batch_sizes
    bounds = [0, *BATCH_BUCKETS]
    counts = [
        sum(n for size, n in sizes.items() if low < size <= high)
        for low, high in zip(bounds, BATCH_BUCKETS, strict=False)
    ]
    buckets = [(f"{bound:.1f}", float(n)) for bound, n in zip(BATCH_BUCKETS, accumulate(counts), strict=True)]
    buckets.append(("+Inf", float(sum(sizes.values()))))
    total = sum(size * n for size, n in sizes.items())
    return HistogramMetricFamily("imagequeue_batch_size", "Images computed together.", buckets, total)
