"""What Prometheus is told of the queue."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest

from imagequeue.errors import RedisDown
from imagequeue.metrics import QueueCollector
from imagequeue.overview import COUNTERS, LiveWorker, Overview
from tests.support.scrape import Scrape


def read(latest: Callable[[], Overview]) -> Scrape:
    registry = CollectorRegistry()
    registry.register(QueueCollector(latest))
    return Scrape(generate_latest(registry).decode())


def overview(batch_sizes: dict[int, int]) -> Overview:
    workers = (LiveWorker("w1", 3.0, {}), LiveWorker("w2", -1.0, {}))
    counters = {name: number for number, name in enumerate(COUNTERS, start=10)}
    return Overview(1.0, 7, 2, 12.5, 4, workers, counters, batch_sizes, 0.0)


def test_each_number_of_the_overview_is_told() -> None:
    found = read(lambda: overview({}))
    assert found.value("redis_up") == 1
    assert found.value("queue_depth") == 7
    assert found.value("queue_suspects") == 2
    assert found.value("queue_oldest_age_seconds") == 12.5
    assert found.value("live_workers") == 1
    assert found.value("dead_kept") == 4
    for number, name in enumerate(COUNTERS, start=10):
        assert found.value(f"jobs_{name}_total") == number, name


def test_batches_stand_in_the_bucket_of_their_size() -> None:
    found = read(lambda: overview({1: 5, 3: 2, 32: 4, 300: 1}))
    below = {
        le: found.value("batch_size_bucket", le=le) for le in ("1.0", "2.0", "4.0", "16.0", "32.0", "256.0", "+Inf")
    }
    assert below == {"1.0": 5, "2.0": 5, "4.0": 7, "16.0": 7, "32.0": 11, "256.0": 11, "+Inf": 12}
    assert found.value("batch_size_count") == 12
    assert found.value("batch_size_sum") == 5 + 6 + 128 + 300


def test_without_redis_only_that_is_told() -> None:
    def away() -> Overview:
        raise RedisDown("Redis does not answer.")

    found = read(away)
    assert found.names == {"imagequeue_redis_up"}
    assert found.value("redis_up") == 0


def test_registering_asks_redis_nothing() -> None:
    def never() -> Overview:
        raise AssertionError("asked")

    CollectorRegistry().register(QueueCollector(never))
