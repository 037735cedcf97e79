"""The processes' directory: made, locked, removed, and cleared of what killed servers left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from imagequeue.errors import ConfigurationError
from imagequeue.web.shareddirectory import DIRECTORY_VARIABLE, shared_directory
from tests.support.system import ROOT


def test_a_directory_is_made_for_the_processes_and_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    with shared_directory():
        made = Path(os.environ[DIRECTORY_VARIABLE])
        assert made.parent == tmp_path
        assert made.is_dir()
        # A server that replaces this one has inherited the variable.
        with shared_directory():
            assert os.environ[DIRECTORY_VARIABLE] != str(made)
        assert made.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_users_directory_is_used_and_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "mine"))
    with shared_directory():
        (tmp_path / "mine" / "counter_1.db").touch()
    assert (tmp_path / "mine" / "counter_1.db").exists()


def test_a_directory_that_cannot_be_made_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match=DIRECTORY_VARIABLE), shared_directory():
        pass


SERVER = """
import sys
from imagequeue.web.shareddirectory import shared_directory
with shared_directory():
    print("made", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_server_left_is_removed_by_the_next_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    (tmp_path / "imagequeue-metrics-of-a-stranger").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for server in servers:
        assert server.stdout is not None
        assert server.stdout.readline() == b"made\n"
    before = set(tmp_path.iterdir())
    killed, running = servers
    killed.kill()
    killed.communicate()
    with shared_directory():
        own = {Path(os.environ[DIRECTORY_VARIABLE])}
        left = set(tmp_path.iterdir()) - own
        assert len(before - left) == 1
        assert len(left) == 2
    running.communicate()
    assert [file.name for file in tmp_path.iterdir()] == ["imagequeue-metrics-of-a-stranger"]


def test_unless_a_place_is_chosen_it_lies_in_memory_where_no_full_disk_can_end_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm on this machine")
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    with shared_directory():
        assert Path(os.environ[DIRECTORY_VARIABLE]).parent == Path("/dev/shm")


@pytest.mark.parametrize("is_anothers", [False, True])
def test_a_trap_in_the_shared_place_keeps_no_server_from_its_start_and_is_left_there(
    tmp_path: Path, is_anothers: bool
) -> None:
    trap = tmp_path / "imagequeue-metrics-trap"
    trap.mkdir(mode=0o755)
    os.mkfifo(trap / "lock")
    (tmp_path / "imagequeue-metrics-link").symlink_to(trap)
    if is_anothers:
        if os.geteuid() != 0:
            pytest.skip("only root may give a directory away")
        for path in (trap / "lock", trap):
            os.chown(path, 65534, 65534)
    ended = subprocess.run(
        [sys.executable, "-c", SERVER],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), DIRECTORY_VARIABLE: ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=20,
        check=True,
    )
    assert ended.stdout == b"made\n"
    assert (trap / "lock").exists()


def test_another_users_directory_is_not_removed_though_its_lock_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "imagequeue-metrics-other"
    other.mkdir()
    (other / "lock").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    with monkeypatch.context() as as_another:
        as_another.setattr(os, "geteuid", lambda: os.stat(other).st_uid + 1)
        with shared_directory():
            pass
    assert other.exists()
    with shared_directory():
        assert not other.exists()


def test_what_is_made_is_for_this_user_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for named in ("", str(tmp_path / "mine")):
        monkeypatch.setenv(DIRECTORY_VARIABLE, named)
        with shared_directory():
            assert Path(os.environ[DIRECTORY_VARIABLE]).stat().st_mode & 0o777 == 0o700
