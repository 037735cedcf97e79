"""`make serve`, without make: what a newcomer's first command does, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.load import null_label
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT, eventually

SAMPLE = ROOT / "samples" / "crossword.png"


class Serve:
    """One `python -m scripts.serve`, as in a terminal of its own."""

    def __init__(self, log: Path, **settings: object) -> None:
        self.port = free_port()
        self.log = log
        environment = {**os.environ, "MODEL": "null", "WEB_PORT": str(self.port)} | {
            name: str(value) for name, value in settings.items()
        }
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.serve"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        eventually(lambda: "Ready at" in self.output or self.process.poll() is not None, 60, "Ready at")
        assert "Ready at" in self.output, self.output

    def descendants(self) -> set[int]:
        found, new = set(), {self.process.pid}
        while new:
            found |= new
            new = {
                int(child)
                for pid in new
                for tasks in Path(f"/proc/{pid}/task").glob("*/children")
                for child in tasks.read_text().split()
            } - found
        return found - {self.process.pid}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)


@pytest.fixture
def serve(tmp_path: Path, redis_server: RedisServer) -> Iterator[Serve]:
    running = Serve(tmp_path / "serve.log", REDIS_URL=redis_server.url)
    yield running
    running.end()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_says_when_it_is_ready_with_a_curl_line_that_works(serve: Serve) -> None:
    serve.wait_until_ready()
    (curl,) = [line.strip() for line in serve.output.splitlines() if line.strip().startswith("curl ")]
    answer = subprocess.run(curl.split(), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert null_label(SAMPLE.read_bytes()) in answer


def test_ctrl_c_ends_all_of_it_and_nothing_is_left_running(serve: Serve) -> None:
    serve.wait_until_ready()
    children = serve.descendants()
    assert len(children) >= 3, "a worker, a web server and its process at least"
    serve.process.send_signal(signal.SIGINT)
    assert serve.process.wait(timeout=30) == 0, serve.output
    assert not [pid for pid in children if is_alive(pid)]


def test_a_redis_of_its_own_is_started_and_ended_where_none_is_named(tmp_path: Path) -> None:
    program = (
        "from scripts.local_redis import LocalRedis, free_port, new_enough\n"
        "server = LocalRedis(new_enough(), free_port())\n"
        "assert server.wait_until_up()\n"
        "print(server.url, flush=True)\n"
        "input()\n"
        "server.stop()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert redis.Redis.from_url(url, protocol=2).ping()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(timeout=20) == 0
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(url, protocol=2).ping()


def test_a_taken_port_is_named_with_a_way_out(tmp_path: Path, redis_server: RedisServer) -> None:
    second = Serve(tmp_path / "second.log", REDIS_URL=redis_server.url, WEB_PORT=redis_server.port)
    assert second.process.wait(timeout=30) == 1
    assert f"Port {redis_server.port} is taken" in second.output
    assert f"WEB_PORT={redis_server.port + 1}" in second.output


def test_a_redis_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    lost = Serve(tmp_path / "lost.log", REDIS_URL=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert lost.process.wait(timeout=30) == 1
    assert "no Redis answers there" in lost.output
    assert "hunter2" not in lost.output
