"""Ports that are free, taken by this project or by others, or not to be had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagequeue.doctor.ports import check_metrics, check_web
from tests.support.redisserver import free_port

LISTEN = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_free_port_is_free_and_0_is_any() -> None:
    assert check_web("127.0.0.1", free_port()).status == "ok"
    assert check_web("127.0.0.1", 0).status == "ok"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
def test_one_that_is_taken_fails_with_the_process_that_has_it_and_another_port(taken: int) -> None:
    found = check_web("127.0.0.1", taken)
    assert found.status == "failed"
    assert f"(process {os.getpid()})" in found.found
    assert f"WEB_PORT={taken + 1}" in found.fix


def test_where_proc_says_nothing_it_is_only_taken(taken: int, tmp_path: Path) -> None:
    found = check_web("127.0.0.1", taken, tmp_path)
    assert found.status == "failed"
    assert found.found.endswith("is taken")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
def test_a_web_server_of_this_project_that_runs_already_is_no_fault_and_its_arguments_are_not_shown(
    tmp_path: Path,
) -> None:
    script = tmp_path / "run_web_server.py"
    script.write_text(LISTEN)
    command = [sys.executable, str(script), "--a-secret"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = check_web("127.0.0.1", int(process.stdout.readline()))
        finally:
            process.kill()
    assert found.status == "ok"
    assert f"(process {process.pid})" in found.found
    assert "secret" not in found.found


def test_an_address_that_is_not_this_machines_fails_with_one_that_is() -> None:
    found = check_web("192.0.2.1", free_port())
    assert found.status == "failed"
    assert "WEB_HOST=127.0.0.1" in found.fix


def test_a_worker_takes_the_first_free_port_for_metrics(taken: int) -> None:
    assert check_metrics("127.0.0.1", 0, 64).status == "ok"
    assert check_metrics("127.0.0.1", taken, 64).status == "ok"
    found = check_metrics("127.0.0.1", taken, 1)
    assert found.status == "warning"
    assert "METRICS_PORT" in found.fix
    assert check_metrics("192.0.2.1", taken, 64).status == "warning"
