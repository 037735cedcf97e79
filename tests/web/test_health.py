"""The probes: alive is alive; ready is ready to serve, else the reason in a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from imagequeue.connections import connect
from imagequeue.jobqueue import JobQueue
from tests.support.inprocess import Service
from tests.support.jobs import end_lease
from tests.support.redisserver import RedisServer
from tests.support.system import eventually


def why_not(service: Service) -> str:
    response = service.client.get("/readyz")
    if response.status_code == 200:
        assert response.json == {"status": "ready"}
        return ""
    assert response.status_code == 503
    assert response.json["status"] == "not ready"
    return str(response.json["reason"])


def test_with_redis_a_subscription_and_a_worker_it_is_ready(make_service: Callable[..., Service]) -> None:
    service = make_service()
    assert service.client.get("/livez").json == {"status": "alive"}
    assert why_not(service) == ""


def test_without_a_worker_and_with_one_whose_lease_has_ended_it_is_not(make_service: Callable[..., Service]) -> None:
    service = make_service(with_worker=False)
    assert why_not(service) == "no worker"
    service.queue.join("w1", 30.0, {"model": "null"})
    assert why_not(service) == ""
    end_lease(service.queue, "w1")
    assert why_not(service) == "no worker"


def test_while_draining_it_is_not_and_still_serves(make_service: Callable[..., Service]) -> None:
    draining: list[int] = []
    service = make_service(is_draining=lambda: bool(draining))
    assert why_not(service) == ""
    draining.append(1)
    assert why_not(service) == "draining"
    assert service.client.get("/livez").status_code == 200


def test_without_redis_it_is_alive_and_not_ready_and_recovers(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    service = Service(server.url, with_worker=False)
    try:
        server.kill()
        assert service.client.get("/livez").status_code == 200
        assert why_not(service) == "redis"
        server.start()
        JobQueue(connect(server.url, name="test")).join("w1", 30.0, {"model": "null"})
        eventually(lambda: why_not(service) == "")
    finally:
        service.stop()


def test_with_a_redis_that_refuses_writes_it_is_not_and_says_why(
    make_service: Callable[..., Service], client: redis.Redis
) -> None:
    service = make_service()
    assert why_not(service) == ""
    client.config_set("maxmemory", "1")
    try:
        eventually(lambda: why_not(service) == "redis: Redis has reached its memory limit.")
    finally:
        client.config_set("maxmemory", "0")
    eventually(lambda: why_not(service) == "")


def test_without_its_subscription_it_is_not(
    make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service()
    service.classifier._waiter._subscribed.clear()
    assert why_not(service) == "subscription"
