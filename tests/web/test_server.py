"""How a process of the web server starts, and what it does when connections are all it has."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from imagequeue.web.server import raise_descriptor_limit
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System, eventually


@pytest.fixture
def low_limit() -> Iterator[int]:
    """A soft limit below the hard one, for this process; yields the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_may_open_as_many_descriptors_as_its_hard_limit_says(low_limit: int) -> None:
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low_limit, low_limit)


def test_a_limit_that_cannot_be_raised_stays(low_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are set with Linux's prlimit")
def test_without_a_descriptor_left_clients_wait_and_are_served_as_soon_as_there_is_one(
    make_redis: Callable[..., RedisServer], make_system: Callable[..., System]
) -> None:
    system = make_system(make_redis()).start()
    master = system.webs[0]
    # Its next child has the limit from its start, and raises the soft one.
    resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (100, 128))
    os.kill(master.children()[0], signal.SIGKILL)
    eventually(system.is_ready)
    (child,) = master.children()
    assert resource.prlimit(child, resource.RLIMIT_NOFILE) == (128, 128)
    with ExitStack() as crowd:
        for _ in range(200):
            crowd.enter_context(socket.create_connection(("127.0.0.1", int(system.url.rsplit(":", 1)[1])), timeout=20))
        eventually(lambda: len(os.listdir(Path(f"/proc/{child}/fd"))) == 128)
    assert requests.get(f"{system.url}/livez", timeout=20).status_code == 200
    assert system.predict(picture(1)).status_code == 200
    assert master.children() == [child]
