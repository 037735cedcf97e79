"""The Redis that `make serve` starts: which one, and that it serves nobody but its user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from imagequeue.connections import connect, without_secrets
from scripts.local_redis import LocalRedis, best_binary, binaries, is_new_enough, product_of, version_of
from settings import Settings
from tests.conftest import EACH_KIND, redis_binary


@pytest.fixture(params=EACH_KIND)
def binary(request: pytest.FixtureRequest) -> str:
    return redis_binary(request.param)


@pytest.fixture
def start(binary: str) -> Iterator[Callable[[], LocalRedis]]:
    """Servers that answer, of each kind in turn."""
    started: list[LocalRedis] = []

    def make() -> LocalRedis:
        started.append(LocalRedis(binary))
        assert started[-1].wait_until_up()
        return started[-1]

    yield make
    for server in started:
        server.stop()


def listening_ports(pid: int) -> list[int]:
    """The TCP ports on which the process listens."""
    inodes = {os.readlink(file)[8:-1] for file in Path(f"/proc/{pid}/fd").iterdir() if "socket:[" in os.readlink(file)}
    ports = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and words[3] == "0A":
                ports.append(int(words[1].rpartition(":")[2], 16))
    return ports


def as_nobody(program: str) -> subprocess.CompletedProcess[str]:
    """A program of Python's own library, run by another user of this machine."""
    nobody = pwd.getpwnam("nobody")
    user = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return subprocess.run(
        ["setpriv", *user, "/usr/bin/python3", "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def read_by_shell(word: str) -> str:
    """What REDIS_URL is once the printed line was typed."""
    program = f'REDIS_URL={word}; printf %s "$REDIS_URL"'
    return subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True).stdout


needs_second_user = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None or not os.access("/usr/bin/python3", os.X_OK),
    reason="only root can be another user here",
)


def test_only_its_user_may_look_into_its_directory_and_it_has_no_port(start: Callable[[], LocalRedis]) -> None:
    server = start()
    path = Path(server.url.removeprefix("unix://"))
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    listed = subprocess.run(["ls", "-la", str(path.parent)], capture_output=True, text=True, check=True).stdout
    rights = {line.split()[-1]: line.split()[0] for line in listed.splitlines()[1:]}
    assert rights["."].startswith("drwx------"), listed
    assert rights["redis.sock"].startswith("srwx------"), listed
    assert listening_ports(server.pid) == []


@needs_second_user
def test_another_user_cannot_connect(start: Callable[[], LocalRedis]) -> None:
    path = start().url.removeprefix("unix://")
    ended = as_nobody(f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})")
    assert "PermissionError" in ended.stderr


def test_where_no_socket_can_be_had_it_wants_a_password_that_no_process_shows(
    start: Callable[[], LocalRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    server = start()
    monkeypatch.undo()
    password = server.url.partition("://:")[2].partition("@")[0]
    assert len(password) > 30
    (port,) = listening_ports(server.pid)
    with redis.Redis(port=port, protocol=2) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) != 0
    assert password not in server.shell_word
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert password.encode() not in process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert read_by_shell(server.shell_word) == server.url
    file = Path(server.shell_word.split('"')[2])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert connect(server.url, name="test").ping()


@pytest.mark.parametrize(("name", "is_used"), [("x" * 120, False), ('a "b" $c `d` %41 ü? #', True)])
def test_its_socket_works_from_a_temporary_directory_with_any_name(
    start: Callable[[], LocalRedis], monkeypatch: pytest.MonkeyPatch, name: str, is_used: bool
) -> None:
    with tempfile.TemporaryDirectory() as parent:
        place = Path(parent) / name
        place.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(place))
        server = start()
        assert bool(list(place.iterdir())) == is_used
        assert server.url.startswith("unix://")
        settings = Settings.load({"REDIS_URL": server.url}, Path("/nonexistent"))
        assert connect(settings.redis_url, name="test").ping()
        assert without_secrets(server.url) == server.url
        assert read_by_shell(server.shell_word) == server.url
        server.stop()


def test_it_ends_with_its_user_and_leaves_nothing(start: Callable[[], LocalRedis]) -> None:
    server = start()
    directory = Path(server.url.removeprefix("unix://")).parent
    server.stop()
    assert not server.is_running
    assert not directory.exists()


def program(directory: Path, name: str, prints: str) -> Path:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{prints}\n")
    file.chmod(0o755)
    return file


def test_the_servers_on_the_path_come_first_and_only_those_that_are_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path, "redis-server", "echo Redis server v=5.0.7 sha=00000000:0 malloc=jemalloc-5.2.1")
    new = program(tmp_path, "valkey-server", "echo Valkey server v=8.0.1 sha=00000000:0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert version_of(str(old)) == (5, 0, 7)
    assert product_of(str(new)) == ("Valkey", (8, 0, 1))
    assert binaries()["system"] == str(new)
    assert best_binary() == str(new)
    program(tmp_path, "redis-server", "echo Redis server v=7.4.1 sha=00000000:0")
    assert best_binary() == str(tmp_path / "redis-server")


@pytest.mark.parametrize("prints", ["exit 1", "echo hello", "kill -SEGV $$"])
def test_a_server_that_does_not_run_here_is_passed_over(tmp_path: Path, prints: str) -> None:
    assert not is_new_enough(str(program(tmp_path, "redis-server", prints)))
    assert not is_new_enough(str(tmp_path / "missing"))


def test_without_one_on_the_path_there_is_that_of_a_package_and_the_newer_one_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(binaries())
    assert "system" not in found
    assert found == [kind for kind in ("valkey", "redis62") if kind in found]
    if sys.platform == "linux":
        assert found, "requirements-serve.txt has installed one"
    if "valkey" in found:
        assert version_of(binaries()["valkey"]) >= (9,)
