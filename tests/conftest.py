"""What all tests share: a Redis of their own, and the scripts that run against it.

No test talks to port 6379. In CI a missing Redis is an error; elsewhere the tests that need one are skipped.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import Phase, settings

from imagequeue.model import Model
from tests.support.fakeserver import FakeServer
from tests.support.inprocess import Service
from tests.support.logs import Terminal
from tests.support.redisserver import RedisServer, binaries
from tests.support.runningworker import Running, null_model
from tests.support.system import IMAGES, WEIGHTS, System

# The same examples each time, so that what fails is what has just been changed; HYPOTHESIS_PROFILE=long looks for news.
# A deadline for each example would measure what else the machine does.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
settings.register_profile("quick", deadline=None, phases=_PHASES, max_examples=70, derandomize=True)
settings.register_profile("long", deadline=None, phases=_PHASES, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # As under nohup. The services would inherit it, and not notice that their terminal is closed.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

FOUND = binaries()
# REDIS_SERVER=system, =valkey or =redis62 runs everything on that one only.
CHOSEN = os.environ.get("REDIS_SERVER")
KINDS = [CHOSEN] if CHOSEN else list(FOUND)
# For the parameters of a fixture: the first is what every test uses, the others show what differs, seldom.
EACH_KIND = [*KINDS[:1], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])] or [None]


def redis_binary(kind: str | None) -> str:
    """The path of that kind of redis-server; skips the test where it is missing, fails in CI."""
    if kind in FOUND:
        return FOUND[kind]
    reason = f"no redis-server ({kind or 'neither on the PATH nor in a package'})"
    if os.environ.get("CI"):
        pytest.fail(reason + "; CI must have one")
    pytest.skip(reason)


@pytest.fixture(scope="session", params=EACH_KIND)
def each_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One server of each kind to be had, Redis 6.2 to Valkey 9, for the tests of what runs inside it."""
    server = RedisServer(redis_binary(request.param)).start()
    yield server
    server.remove()


@pytest.fixture
def client(each_redis: RedisServer) -> Iterator[redis.Redis]:
    """An empty Redis, of each kind in turn."""
    with each_redis.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server for one test alone, which may stop, break and configure it."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    yield server
    server.remove()


@pytest.fixture
def make_redis() -> Iterator[Callable[..., RedisServer]]:
    """Servers with options of the test's own."""
    servers: list[RedisServer] = []

    def make(**options: str) -> RedisServer:
        servers.append(RedisServer(redis_binary(KINDS[0] if KINDS else None), **options))
        return servers[-1].start()

    yield make
    for server in servers:
        server.remove()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service, with a worker, for all tests of a module."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    shared = Service(server.url)
    yield shared
    shared.stop()
    server.remove()


@pytest.fixture
def make_system(tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Web servers and workers; all that were started are ended when the test is over."""
    systems: list[System] = []

    def make(server: RedisServer | str, **settings: object) -> System:
        url = server if isinstance(server, str) else server.url
        systems.append(System(url, tmp_path, **settings))
        return systems[-1]

    yield make
    for system in systems:
        system.stop()


@pytest.fixture
def start_worker(each_redis: RedisServer, client: redis.Redis) -> Iterator[Callable[..., Running]]:
    """Workers in threads of this process, on the Redis of `client`."""
    running: list[Running] = []

    def make(
        model: Model | None = None,
        lease_seconds: float = 5.0,
        at: Callable[[str], None] = lambda point: None,
        **more: Any,
    ) -> Running:
        running.append(Running(each_redis.url, model or null_model(), lease_seconds, at, **more))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """A web server that says what the test wants, for the clients."""
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The directory of real photographs; skips where it or the real weights are missing."""
    if not IMAGES.is_dir() or not WEIGHTS.is_file():
        pytest.skip(f"no photographs and weights in {IMAGES.parent.name}/ beside the project")
    return IMAGES


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """Standard error; whatever the test configured is undone."""
    root = logging.getLogger()
    loggers = [logging.getLogger(name) for name in ("", "imagequeue", "gunicorn.error")]
    levels, handlers, raises = [each.level for each in loggers], root.handlers[:], logging.raiseExceptions
    yield Terminal(capfd)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)
    logging.raiseExceptions = raises
    logging.captureWarnings(False)
