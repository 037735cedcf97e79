"""Real processes with short leases, a proxy before their Redis, and a history that is checked at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import KINDS, redis_binary
from tests.support.history import History
from tests.support.proxy import Proxy
from tests.support.redisserver import RedisServer
from tests.support.system import Script, System, eventually

# Short, so that a test waits for one lease and not for fifteen seconds.
LEASE = 2.0
# Longer than any recovery takes, so that nothing is saved by the deadline alone.
REQUEST_TIMEOUT = 10 * LEASE
SETTINGS = {
    "LEASE_SECONDS": LEASE,
    "POLL_INTERVAL": 0.2,
    "DRAIN_SECONDS": 0.3,
    "MAX_BATCH_SIZE": 8,
    "WEB_THREADS": 72,
    "REQUEST_TIMEOUT": REQUEST_TIMEOUT,
}


@dataclass
class Case:
    """What one fault case is made of."""

    server: RedisServer
    proxy: Proxy
    system: System
    history: History

    def start(self, *, webs: int = 1, workers: int = 1) -> Case:
        self.system.start(webs=webs, workers=workers)
        return self

    def start_fleet(self, count: int, **settings: object) -> Script:
        """One web server, and `count` workers under one supervisor, which is returned."""
        fleet = self.system.worker("--workers", str(count), wait=False, **settings)
        self.system.web()
        eventually(lambda: len(fleet.lines("joined")) == count, what=fleet.output[-1000:])
        return fleet


MakeCase = Callable[..., Case]


@pytest.fixture
def make_case(tmp_path: Path) -> Iterator[MakeCase]:
    """Cases on one kind of Redis; `make test-redis` goes through all of them."""
    made: list[Case] = []

    def make(*, through_proxy: bool = False, redis: dict[str, str] | None = None, **settings: object) -> Case:
        server = RedisServer(redis_binary(KINDS[0] if KINDS else None), **(redis or {})).start()
        proxy = Proxy(server)
        system = System(proxy.url if through_proxy else server.url, tmp_path, **(SETTINGS | settings))
        made.append(Case(server, proxy, system, History(system, server)))
        return made[-1]

    yield make
    for case in made:
        case.history.stop()
        # What is left has been checked; an orderly end is what test_restarts.py is about.
        case.system.kill()
        case.proxy.stop()
        case.server.remove()
