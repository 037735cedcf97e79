"""What Prometheus is told of one worker."""

from __future__ import annotations

from imagequeue.workermetrics import WorkerMetrics
from tests.support.outcomes import failed, good
from tests.support.redisserver import free_port
from tests.support.scrape import scrape


def test_batches_images_and_times_are_counted_and_served() -> None:
    metrics = WorkerMetrics()
    metrics.observe([good(80.0, 20), good(80.0, 300), failed()])
    metrics.observe([failed()])
    port = free_port()
    server = metrics.serve("127.0.0.1", port)
    assert server is not None
    try:
        found = scrape(f"http://127.0.0.1:{server.port}/metrics")
    finally:
        server.stop()
    assert found.value("worker_images_total", outcome="completed") == 2
    assert found.value("worker_images_total", outcome="failed") == 2
    assert found.value("worker_batch_size_count") == 2
    assert found.value("worker_batch_size_sum") == 4
    assert found.value("worker_inference_seconds_count") == 1
    assert found.value("worker_inference_seconds_bucket", le="0.1") == 1
    assert found.value("worker_queue_seconds_bucket", le="0.025") == 1
    assert found.value("worker_queue_seconds_count") == 2


def test_workers_of_one_machine_take_one_port_after_another() -> None:
    port = free_port()
    servers = [WorkerMetrics().serve("127.0.0.1", port) for _ in range(3)]
    try:
        ports = [server.port for server in servers if server is not None]
        assert len(set(ports)) == 3
        assert ports == sorted(ports)
        assert ports[0] >= port
    finally:
        for server in servers:
            if server is not None:
                server.stop()


def test_an_address_that_is_not_ours_keeps_no_worker_from_working() -> None:
    assert WorkerMetrics().serve("192.0.2.1", 9100) is None
