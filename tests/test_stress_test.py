"""stress_test.py as a user runs it: every request accounted for, an exit code that tells the truth, its files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakeserver import FakeServer, Reply, answer, refusal
from tests.support.pictures import picture
from tests.support.redisserver import free_port
from tests.support.system import ROOT, eventually


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "stress_test.py"), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "LOG_LEVEL": "info"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_five_hundred_requests_are_what_it_sends_unless_told_otherwise() -> None:
    with FakeServer() as server:
        ended = run("--url", server.url)
    assert (ended.returncode, len(server.requests)) == (0, 500), ended.stderr
    assert ended.stdout.startswith("500 requests in ")
    assert "  answered             500\n" in ended.stdout
    assert ended.stderr == "", "no live line where nobody looks"


def test_all_answered_is_0_with_counts_throughput_and_percentiles(fake_server: FakeServer) -> None:
    ended = run("--url", fake_server.url, "--requests", "40", "--connections", "4")
    assert (ended.returncode, ended.stderr) == (0, "")
    counts, answered, throughput, latency = ended.stdout.splitlines()
    assert re.fullmatch(r"40 requests in \d+\.\d s", counts)
    assert answered.split() == ["answered", "40"]
    assert re.fullmatch(r"throughput  \d+\.\d images/s", throughput)
    assert re.fullmatch(r"latency ms  p50 \d+  p95 \d+  p99 \d+  max \d+", latency)
    assert fake_server.connections == 4, "each thread keeps its own"


def test_the_images_are_sent_in_turn(fake_server: FakeServer, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
        files.append(str(tmp_path / name))
    run("--url", fake_server.url, "--requests", "10", "--connections", "1", *files)
    assert [body for _, _, body in fake_server.requests] == [b"a", b"b"] * 5


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (refusal(500, "job_failed"), "job_failed 1"),
        (refusal(503, "queue_full", Retry_After="60"), "queue_full 1"),
        (Reply(200, b"<html>"), "wrong_shape 1"),
        (answer([("a", 0.1), ("b", 0.9)]), "wrong_shape 1"),
        (answer([("church", 0.9)]), "changed 1"),
        (Reply(200, b"{", is_cut=True), "server_away 1"),
    ],
)
def test_one_that_is_not_answered_right_is_1(fake_server: FakeServer, bad: Reply, line: str) -> None:
    fake_server.replies = [answer(), bad, answer()]
    ended = run("--url", fake_server.url, "--requests", "8", "--connections", "1", ROOT / "samples" / "maze.png")
    assert ended.returncode == 1
    assert line in [" ".join(found.split()) for found in ended.stdout.splitlines()]
    assert len(fake_server.requests) == 8, "nothing is tried again, and the others are sent all the same"


def test_refusals_are_allowed_where_they_are_expected(fake_server: FakeServer) -> None:
    fake_server.replies = [refusal(503, "queue_full"), answer()]
    assert run("--url", fake_server.url, "--requests", "5", "--allow-refusals").returncode == 0
    fake_server.replies = [refusal(500, "job_failed"), answer()]
    assert run("--url", fake_server.url, "--requests", "5", "--allow-refusals").returncode == 1


def test_a_server_that_is_away_is_1() -> None:
    ended = run("--url", f"http://127.0.0.1:{free_port()}", "--requests", "6", "--allow-refusals")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[1].split() == ["server_away", "6"]


def test_wrong_arguments_are_told_before_anything_is_sent(fake_server: FakeServer, tmp_path: Path) -> None:
    assert run("--url", fake_server.url, "--requests", "0").returncode == 2
    assert run("--url", fake_server.url, "--connections", "0").returncode == 2
    ended = run("--url", fake_server.url, str(tmp_path / "none.jpg"))
    assert (ended.returncode, ended.stderr) == (1, f"{tmp_path / 'none.jpg'}: No such file or directory\n")
    assert fake_server.requests == []


def test_the_files_it_writes_are_the_run_and_can_be_held_against_the_next(tmp_path: Path) -> None:
    old, new, report = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "report.html"
    with FakeServer() as server:
        assert run("--url", server.url, "--requests", 10, "--json", old).returncode == 0
        ended = run(
            "--url", server.url, "--rate", 100, "--duration", 0.2, "--json", new, "--report", report, "--against", old
        )
    assert ended.returncode == 0, ended.stderr
    assert [json.loads(file.read_text())["kinds"] for file in (old, new)] == [{"answered": 10}, {"answered": 20}]
    assert "throughput, images/s" in ended.stdout
    assert "Beside the run before" in report.read_text()


def test_a_directory_stands_for_the_images_in_it(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "notes.txt").write_text("no image")
    bodies = set()

    def reply(number: int, body: bytes) -> Reply:
        bodies.add(body)
        return answer()

    with FakeServer(reply) as server:
        assert run("--url", server.url, "--requests", 6, tmp_path).returncode == 0
    assert bodies == {picture(number) for number in range(3)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--requests", "0"), "--requests: at least 1"),
        (("--connections", "0"), "--connections: at least 1"),
        (("--rate", "0"), "--rate: more than 0"),
        (("--duration", "nan"), "--duration: more than 0"),
        (("--url", "localhost:5000"), "does not begin with http://"),
        (("--against", "missing.json"), "--against:"),
        (("--report", "nowhere/report.html"), "no such directory"),
    ],
)
def test_a_mistake_on_the_command_line_is_named_before_any_request(arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_ctrl_c_ends_the_load_and_what_was_sent_is_accounted_for() -> None:
    with FakeServer() as server:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "stress_test.py"), "--url", server.url, "--rate", "20", "--requests", "100000"],
            cwd=ROOT,
            env=os.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            eventually(lambda: len(server.requests) >= 3)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 1, "not all that was asked for was sent"
    assert f"  answered             {len(server.requests)}\n" in output
    assert errors == ""
