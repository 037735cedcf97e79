"""The soak leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.conftest import KINDS, redis_binary
from tests.support.system import ROOT, eventually, is_alive


def descendants(mark: str) -> dict[int, str]:
    """The command lines, by their ids, of all processes that carry the mark in their environment or directory.

    redis-server writes its title over its environment.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = mark.encode() in (process / "environ").read_bytes() or mark in os.readlink(process / "cwd")
            if is_ours and is_alive(int(process.name)):
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_told_to_end_twice_while_workers_come_and_go_it_ends_every_process_that_it_started(tmp_path: Path) -> None:
    redis_binary(KINDS[0] if KINDS else None)
    mark = uuid.uuid4().hex
    (tmp_path / mark).mkdir()
    # Workers are replaced all the time, so that one is being started when the signal comes.
    soak = subprocess.Popen(
        [sys.executable, "-m", "bench.soak", "--seconds", "60", "--kill-every", "0.2", "--output", tmp_path / "r.json"],
        cwd=ROOT,
        env={**os.environ, "SOAK_MARK": mark, "TMPDIR": str(tmp_path / mark)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def workers() -> set[int]:
        return {pid for pid, command in descendants(mark).items() if "run_model_server.py" in command}

    try:
        eventually(lambda: len(workers()) == 4, 60)
        first = workers()
        assert any("redis-server" in command for command in descendants(mark).values())
        eventually(lambda: not workers() & first, 60, "each worker replaced")
        soak.send_signal(signal.SIGINT)
        soak.send_signal(signal.SIGTERM)
        assert soak.wait(60) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        assert descendants(mark) == {}
    finally:
        for pid in descendants(mark):
            os.kill(pid, signal.SIGKILL)
        soak.wait()
