"""What the tests of the web side share: the whole service in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.conftest import KINDS, redis_binary
from tests.support.inprocess import Service
from tests.support.redisserver import RedisServer


@pytest.fixture(scope="session")
def each_redis() -> Iterator[RedisServer]:
    """One kind is enough here: what differs between them runs in the scripts, which have tests of their own."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    yield server
    server.remove()


@pytest.fixture
def make_service(each_redis: RedisServer, client: redis.Redis) -> Iterator[Callable[..., Service]]:
    """Services over one empty Redis, with limits of the test's own."""
    services: list[Service] = []

    def make(**limits: Any) -> Service:
        services.append(Service(each_redis.url, **limits))
        return services[-1]

    yield make
    for service in services:
        service.stop()
