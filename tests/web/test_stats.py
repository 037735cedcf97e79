"""GET /stats: true, and of no cost to Redis however many look."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import redis

from imagequeue.overview import FRESH_SECONDS
from tests.support.inprocess import SIZE, Service
from tests.support.load import null_label
from tests.support.monitor import Monitor
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import eventually

MakeService = Callable[..., Service]


def predict(service: Service, number: int) -> dict[str, object]:
    found: dict[str, object] = service.client.post("/predict", data=picture(number), content_type="image/png").json
    return found


def test_it_tells_of_the_queue_the_workers_and_the_answers(make_service: MakeService) -> None:
    service = make_service()
    answers = [predict(service, number) for number in range(3)]
    service.client.post("/predict", data=b"no image", content_type="image/png")

    def are_counted() -> bool:
        return bool(service.client.get("/stats").json["counters"]["completed"] == 3)

    eventually(are_counted)
    response = service.client.get("/stats")
    assert response.headers["Cache-Control"] == "no-store"
    stats = response.json
    assert (stats["depth"], stats["suspects"], stats["oldest_age"], stats["live_workers"]) == (0, 0, 0.0, 1)
    (worker,) = stats["workers"]
    assert worker["model"] == "null"
    assert worker["images"] == 3
    assert worker["max_batch"] == 8
    assert 0 < worker["lease_left"] <= 5.0
    assert stats["counters"]["enqueued"] == 3
    assert stats["batch_sizes"] == {"1": 3}
    assert stats["latency"]["count"] == 3
    assert 0 < stats["latency"]["decode"]["max"] <= stats["latency"]["total"]["max"]
    refused, *good = stats["requests"]
    assert (refused["status"], refused["label"]) == (422, "bad_image")
    assert [seen["id"] for seen in good] == [answer["id"] for answer in reversed(answers)]
    assert [seen["label"] for seen in good] == [null_label(picture(number), SIZE) for number in (2, 1, 0)]
    assert all(seen["status"] == 200 for seen in good)


def test_what_waits_is_seen_waiting(make_service: MakeService) -> None:
    service = make_service(with_worker=False, timeout=1.0)
    service.queue.join("host:1:x", 30.0, {"host": "host"})
    assert service.client.post("/predict", data=picture(1), content_type="image/png").status_code == 504
    stats = service.client.get("/stats").json
    assert stats["depth"] == 1
    # Decoding comes first, within the same second.
    assert stats["oldest_age"] > 0
    (seen,) = stats["requests"]
    assert (seen["status"], seen["label"]) == (504, "deadline_exceeded")
    assert seen["ms"] >= 990
    assert stats["latency"]["count"] == 0


def test_many_looks_cost_redis_one_command_each_half_second(make_service: MakeService, client: redis.Redis) -> None:
    service = make_service(with_worker=False)
    before = service.client.get("/stats").json["time"]
    with Monitor(client) as monitor:
        made_at = [service.client.get("/stats").json["time"] for _ in range(200)]
    assert monitor.commands("web")["EVALSHA"] == len(set(made_at) - {before})
    looks = sorted(set(made_at))
    assert all(later - earlier >= FRESH_SECONDS - 0.1 for earlier, later in pairwise(looks))


def test_without_redis_it_answers_503_at_once_and_works_again_when_redis_does(redis_server: RedisServer) -> None:
    service = Service(redis_server.url, with_worker=False)
    try:
        assert service.client.get("/stats").status_code == 200
        redis_server.kill()
        eventually(lambda: service.client.get("/stats").status_code == 503)
        assert service.client.get("/stats").json["error"]["code"] == "redis_down"
        redis_server.start()
        eventually(lambda: service.client.get("/stats").status_code == 200)
    finally:
        service.stop()
