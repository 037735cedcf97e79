"""One null service for a module of clients, and a photograph to send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import KINDS, redis_binary
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One web server and one worker with the null model, for all of them."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    running = System(server.url, tmp_path_factory.mktemp("clients")).start()
    yield running
    running.stop()
    server.remove()


@pytest.fixture
def url(system: System) -> str:
    return system.url


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(picture(1, (320, 240), "JPEG"))
    return file
