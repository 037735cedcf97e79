"""Whether Redis takes a write is found out without writing anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from imagequeue import writable
from imagequeue.connections import connect
from imagequeue.jobqueue import JobQueue
from imagequeue.writable import WriteProbe
from tests.support.jobs import unable_to_save
from tests.support.redisserver import RedisServer


def probe_of(server: RedisServer) -> WriteProbe:
    return WriteProbe(JobQueue(connect(server.url, name="test", repeats=0)))


def test_a_redis_that_takes_writes_is_left_as_it_was(each_redis: RedisServer, client: redis.Redis) -> None:
    assert probe_of(each_redis).refusal() == ""
    assert client.dbsize() == 0


def out_of_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")


def replica(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", "1")


def without_replicas(client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", "1")


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (out_of_memory, "redis: Redis has reached its memory limit."),
        (unable_to_save, "redis: Redis cannot save to its disk."),
        (replica, "redis: Redis is a read-only replica now."),
        (without_replicas, "redis: Redis has too few replicas."),
    ],
)
def test_why_it_takes_none_is_said(
    refuse: Callable[[redis.Redis], None], reason: str, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    with server.client() as client:
        refuse(client)
    assert probe_of(server).refusal() == reason


def test_a_redis_that_is_gone_is_that(redis_server: RedisServer) -> None:
    redis_server.stop()
    assert probe_of(redis_server).refusal() == "redis"


def test_it_is_asked_once_a_second_at_most(
    each_redis: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_of(each_redis)
    client.config_resetstat()
    assert [probe.refusal() for _ in range(50)] == [""] * 50
    stats = client.info("commandstats")
    assert stats["cmdstat_setrange"]["calls"] == 1
    monkeypatch.setattr(writable, "SECONDS", 0.0)
    client.config_set("maxmemory", "1")
    try:
        assert "memory limit" in probe.refusal()
    finally:
        client.config_set("maxmemory", "0")
    assert probe.refusal() == ""
