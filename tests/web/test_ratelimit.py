"""The count itself, while Redis is well and while it is not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
import redis

from imagequeue.web import ratelimit
from imagequeue.web.ratelimit import CONNECTIONS, RateLimit
from tests.support.redisserver import RedisServer, free_port


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer of Redis comes too late."""
    monkeypatch.setattr(ratelimit, "ANSWER_SECONDS", 20.0)


def limit_at(url: str, rate: str = "3/hour") -> RateLimit:
    return RateLimit(rate, redis_url=url, queue_name="image_queue")


@pytest.mark.usefixtures("patient")
def test_a_client_has_so_many_and_no_more_however_many_ask_at_once(redis_server: RedisServer) -> None:
    limit = limit_at(redis_server.url, "20/hour")
    allowed: list[bool] = []

    def ask() -> None:
        for _ in range(5):
            counted = limit.count("alice")
            assert counted is not None
            allowed.append(counted.is_allowed)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (allowed.count(True), allowed.count(False)) == (20, 30)
    names = [c["name"] for c in redis_server.client().client_list()]
    assert 1 <= names.count("web:limits") <= CONNECTIONS


@pytest.mark.usefixtures("patient")
def test_a_share_comes_back_with_time(client: redis.Redis, each_redis: RedisServer) -> None:
    limit = limit_at(each_redis.url, "2/hour")

    def allowed(count: int) -> list[bool]:
        return [counted.is_allowed for counted in (limit.count("alice") for _ in range(count)) if counted]

    assert allowed(3) == [True, True, False]
    let_pass(client, minutes=30)
    assert allowed(1) == [False]
    let_pass(client, minutes=40)
    assert allowed(2) == [True, False], "the first of two"
    let_pass(client, minutes=120)
    assert allowed(3) == [True, True, False]


@pytest.mark.usefixtures("patient")
def test_after_the_seconds_that_it_says_so_many_images_pass_and_not_long_before(
    client: redis.Redis, each_redis: RedisServer
) -> None:
    limit = limit_at(each_redis.url, "10/hour")
    counted = [limit.count("alice", 7), limit.count("alice", 5), limit.count("alice", 3)]
    assert [each and each.is_allowed for each in counted] == [True, False, True]
    assert counted[1] is not None
    # First the window of the seven must end, then three of them must have left the next one.
    for images in (10, 5, 1):
        refused = limit.count("alice", images)
        assert refused is not None
        assert not refused.is_allowed
        assert 3600 <= refused.seconds + 60 <= 7200 + 60
        let_pass(client, minutes=refused.seconds // 60 - 5)
        assert not limit.count("alice", images).is_allowed  # type: ignore[union-attr]
        let_pass(client, minutes=6)
        assert limit.count("alice", images).is_allowed  # type: ignore[union-attr]
        client.flushall()
        assert limit.count("alice", 10).is_allowed  # type: ignore[union-attr]


def let_pass(client: redis.Redis, minutes: int) -> None:
    """As if it had: nothing but what is left of the keys' time moves the window."""
    for key in client.keys("image_queue:limits*"):
        client.pexpire(key, client.pttl(key) - minutes * 60_000)


def test_a_redis_that_refuses_connections_limits_nobody() -> None:
    limit = limit_at(f"redis://127.0.0.1:{free_port()}/0", "1/hour")
    assert [limit.count("alice") for _ in range(100)] == [None] * 100


def test_a_redis_that_is_silent_is_asked_once_and_then_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limit = limit_at(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        assert [limit.count("alice") for _ in range(100)] == [None] * 100
        # A hundred waits would be fifty seconds.
        assert time.monotonic() - started < 20 * ratelimit.ANSWER_SECONDS


def test_it_counts_again_once_redis_is_back(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    limit = limit_at(server.url, "1/hour")
    assert limit.count("alice") is not None
    server.kill()
    assert limit.count("alice") is None
    server.start()
    end = time.monotonic() + 20
    while limit.count("bob") is None:
        assert time.monotonic() < end
        time.sleep(0.05)
