"""How a process of the web server starts, and what it does when connections are all it has."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from imagequeue.web.descriptors import RESERVED
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System, eventually


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are set with Linux's prlimit")
def test_idle_connections_leave_the_process_descriptors_and_go_when_others_come(
    make_redis: Callable[..., RedisServer], make_system: Callable[..., System]
) -> None:
    redis = make_redis()
    system = make_system(redis).start()
    master = system.webs[0]
    # Its next child has the limit from its start, and raises the soft one.
    resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (100, 128))
    os.kill(master.children()[0], signal.SIGKILL)
    eventually(system.is_ready)
    (child,) = master.children()
    assert resource.prlimit(child, resource.RLIMIT_NOFILE) == (128, 128)

    def descriptors() -> int:
        return len(os.listdir(Path(f"/proc/{child}/fd")))

    with ExitStack() as crowd:
        for _ in range(200):
            idle = crowd.enter_context(
                socket.create_connection(("127.0.0.1", int(system.url.rsplit(":", 1)[1])), timeout=20)
            )
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200", "the one that has been idle for longest goes for it"
        assert descriptors() <= 128 - RESERVED + 16
        # All that the process itself opens, it opens again.
        redis.kill()
        eventually(lambda: system.why_not_ready() == "redis")
        redis.start()
        eventually(system.is_ready)
        assert system.predict(picture(1)).status_code == 200
        assert requests.get(f"{system.url}/static/page.js", timeout=20).status_code == 200
        assert descriptors() < 128
    assert master.children() == [child]


def test_connections_that_never_ask_make_room_when_they_are_old_and_nobody_is_idle(
    make_redis: Callable[..., RedisServer], make_system: Callable[..., System]
) -> None:
    system = make_system(make_redis())
    system.worker()
    master = system.web_with("imagequeue.web.heads.HEAD_SECONDS = 600.0")
    resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (100, 128))
    os.kill(master.children()[0], signal.SIGKILL)
    eventually(system.is_ready)
    with ExitStack() as crowd:
        for _ in range(100):
            crowd.enter_context(socket.create_connection(("127.0.0.1", int(system.url.rsplit(":", 1)[1])), timeout=20))
        assert system.predict(picture(1)).status_code == 200
