"""GET /metrics, in one process: what is counted, and that nobody can make it grow without bound."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from imagequeue.web.metrics import bury_dead_processes
from tests.support.inprocess import Service
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.scrape import Scrape
from tests.support.system import eventually

MakeService = Callable[..., Service]
STAGES = ("decode", "enqueue", "queue", "inference", "wake", "total")


def read(service: Service) -> Scrape:
    return Scrape(service.client.get("/metrics").text)


def predict(service: Service, body: bytes) -> int:
    return service.client.post("/predict", data=body, content_type="image/png").status_code


def test_requests_are_counted_by_route_and_status(make_service: MakeService) -> None:
    service = make_service()
    assert [predict(service, picture(n)) for n in range(3)] == [200, 200, 200]
    assert predict(service, b"no image") == 422
    service.client.get("/livez")
    service.client.get("/nowhere")
    service.client.delete("/predict")
    found = read(service)
    assert found.value("http_requests_total", route="/predict", code="200") == 3
    assert found.value("http_requests_total", route="/predict", code="422") == 1
    assert found.value("http_requests_total", route="/livez", code="200") == 1
    assert found.value("http_requests_total", route="(none)", code="404") == 1
    assert found.value("http_requests_total", route="(none)", code="405") == 1
    assert found.value("images_total", outcome="answered") == 3
    assert found.value("images_total", outcome="bad_image") == 1


def test_every_stage_of_an_answered_image_is_timed_and_of_no_other(make_service: MakeService) -> None:
    service = make_service()
    predict(service, picture(1))
    predict(service, b"no image")
    found = read(service)
    for stage in STAGES:
        assert found.value("stage_seconds_count", stage=stage) == 1, stage
        assert found.value("stage_seconds_bucket", stage=stage, le="60.0") == 1, stage
    # The others are a worker's, by clocks of their own.
    here = sum(found.value("stage_seconds_sum", stage=stage) for stage in ("decode", "enqueue"))
    assert 0 < here < found.value("stage_seconds_sum", stage="total")


def test_an_image_that_is_asked_for_later_is_accepted_and_not_timed(make_service: MakeService) -> None:
    service = make_service()
    headers = {"Prefer": "respond-async", "Content-Type": "image/png"}
    assert service.client.post("/predict", data=picture(1), headers=headers).status_code == 202
    found = read(service)
    assert found.value("images_total", outcome="accepted") == 1
    assert found.value("stage_seconds_count", stage="total") == 0
    assert service.client.get("/stats").json["requests"][0]["status"] == 202


def test_an_image_that_was_computed_for_another_request_is_cached_and_only_its_total_is_timed(
    make_service: MakeService,
) -> None:
    service = make_service(cache_seconds=60.0)
    assert [predict(service, picture(1)) for _ in range(3)] == [200, 200, 200]
    found = read(service)
    assert found.value("images_total", outcome="answered") == 1
    assert found.value("images_total", outcome="cached") == 2
    assert found.value("stage_seconds_count", stage="total") == 3
    assert found.value("stage_seconds_count", stage="inference") == 1


def test_the_reading_request_is_the_only_one_in_flight(make_service: MakeService) -> None:
    service = make_service()
    predict(service, picture(1))
    assert read(service).value("http_requests_in_flight") == 1


def test_refusals_are_counted_by_their_reason(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    assert predict(service, picture(1)) == 503
    found = read(service)
    assert found.value("http_refused_total", reason="no_workers") == 1
    assert found.value("images_total", outcome="no_workers") == 1


def test_paths_that_somebody_makes_up_make_no_series_of_their_own(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    service.client.get("/nowhere/0")
    before = set(read(service).series)
    for number in range(20):
        service.client.get(f"/nowhere/{number}")
        service.client.open(f"/predict?top={number}", method=f"VERB{number}")
    assert len(set(read(service).series) - before) <= 2


def test_without_redis_the_server_still_tells_of_itself(redis_server: RedisServer) -> None:
    service = Service(redis_server.url, with_worker=False)
    try:
        assert read(service).value("redis_up") == 1
        redis_server.kill()
        eventually(lambda: not read(service).value("redis_up"))
        found = read(service)
        assert found.value("http_requests_total", route="/metrics", code="200") >= 2
        assert "imagequeue_queue_depth" not in found.names, "0 would say that all is well"
    finally:
        service.stop()


def test_openmetrics_is_spoken_to_who_asks_for_it(make_service: MakeService) -> None:
    service = make_service(with_worker=False)
    response = service.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.content_type.startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_only_the_dead_are_buried_and_only_what_they_had_in_flight(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f"{kind}_{pid}.db" for kind in ("gauge_livesum", "counter") for pid in (gone.pid, os.getpid())]
    for name in (*names, "gauge_livesum_none.db"):
        (tmp_path / name).touch()
    bury_dead_processes(tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {*names, "gauge_livesum_none.db"} - {f"gauge_livesum_{gone.pid}.db"}


def test_a_type_that_the_library_trips_over_is_answered_as_if_none_was_named(make_service: MakeService) -> None:
    accept = {"Accept": "application/openmetrics-text; version=zz;escaping=??"}
    answer = make_service().client.get("/metrics", headers=accept)
    assert answer.status_code == 200
    assert "imagequeue_http_requests" in answer.text
