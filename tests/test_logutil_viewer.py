"""`python logutil.py`: the lines of all servers, for a person."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT, eventually


class Viewer:
    """`python logutil.py …` on one Redis."""

    def __init__(self, url: str) -> None:
        self.environment = {**os.environ, "REDIS_URL": url}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "logutil.py"), *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def logged(redis_server: RedisServer) -> Iterator[Viewer]:
    """A Redis in which two servers have logged; the second's lines came first."""
    with redis_server.client() as client:
        now = int(client.time()[0]) * 1000
        for at, server, level, job in ((now - 1, "host-2", "INFO", "bb"), (now - 2, "host-1", "WARNING", "aa")):
            content = {"time": "T", "server": server, "script": "s.py", "level": level, "action": "did", "job": job}
            client.xadd("{image_queue}:log", {"at": at, "line": json.dumps(content | {"says": "a b"})})
    return Viewer(redis_server.url)


def test_the_lines_of_all_servers_are_shown_in_the_order_of_their_events(logged: Viewer) -> None:
    ended = logged.run()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == 'T host-1 s.py WARNING did job=aa says="a b"\nT host-2 s.py INFO did job=bb says="a b"\n'


def test_a_wish_leaves_the_others_out(logged: Viewer) -> None:
    for wish in (("--job", "bb"), ("--server", "host-2")):
        assert [line.split()[1] for line in logged.run(*wish).stdout.splitlines()] == ["host-2"]
    assert [line.split()[1] for line in logged.run("--level", "warning").stdout.splitlines()] == ["host-1"]
    assert len(logged.run("--since", "1h").stdout.splitlines()) == 2
    assert json.loads(logged.run("--job", "aa", "--json").stdout)["says"] == "a b"


def test_what_comes_is_followed_and_a_redis_that_comes_back_too(
    logged: Viewer, redis_server: RedisServer, tmp_path: Path
) -> None:
    output = tmp_path / "followed"
    with open(output, "w") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "logutil.py"), "--follow", "--since", "1h"],
            cwd=ROOT,
            env=logged.environment,
            stdout=file,
            stderr=file,
        )

    def say(action: str) -> None:
        line = json.dumps({"time": "T", "server": "h", "script": "s", "level": "INFO", "action": action})
        with redis_server.client() as client:
            client.xadd("{image_queue}:log", {"at": 1, "line": line})

    try:
        eventually(lambda: output.read_text().count("\n") == 2)
        say("news")
        eventually(lambda: "T h s INFO news\n" in output.read_text())
        redis_server.stop()
        eventually(lambda: "Waiting for it." in output.read_text())
        redis_server.start()
        say("back")
        eventually(lambda: "T h s INFO back\n" in output.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert "Traceback" not in output.read_text()


def test_a_redis_that_is_away_is_said_in_one_line() -> None:
    ended = Viewer(f"redis://127.0.0.1:{free_port()}/0").run()
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "REDIS_URL" in ended.stderr


def test_an_entry_of_somebody_elses_reaches_the_terminal_as_words(redis_server: RedisServer) -> None:
    hostile = "\x1b[2J\x1b]0;x\x07\r\n\x9b31m\x7f\u202egpj"
    names = ("time", "server", "script", "level", "action", hostile, "says")
    with redis_server.client() as client:
        client.xadd("{image_queue}:log", {"at": 1, "line": json.dumps(dict.fromkeys(names, hostile))})
        client.xadd("{image_queue}:log", {"at": 2, "line": json.dumps({"action": "did", "says": "x" * 10**6})})
        client.xadd("{image_queue}:log", {"at": 3, "line": "[" * 100_000})
    viewer = Viewer(redis_server.url)
    for output in (viewer.run().stdout, viewer.run("--json").stdout):
        first, second = output.splitlines()
        assert first.isprintable()
        assert second.isprintable()
    shown = viewer.run().stdout.splitlines()
    assert r"\x1b[2J" in shown[0]
    assert len(shown[1]) < 10_000
    assert json.loads(viewer.run("--json").stdout.splitlines()[0])["action"] == hostile
