"""stress_test.py: every request is accounted for, and the exit code tells the truth."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stress_test import ANSWERED, Load, Outcome, Progress, percentile, report
from tests.support.fakeserver import FakeServer, Reply, answer, refusal
from tests.support.redisserver import free_port
from tests.support.system import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "stress_test.py"), *arguments],
        env={**os.environ, "LOG_LEVEL": "info"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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
        (Reply(200, b"{", is_cut=True), "server_away 1"),
    ],
)
def test_one_that_is_not_answered_right_is_1(fake_server: FakeServer, bad: Reply, line: str) -> None:
    fake_server.replies = [answer(), bad, answer()]
    ended = run("--url", fake_server.url, "--requests", "8", "--connections", "2")
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


def test_a_surprise_in_one_request_does_not_lose_the_others(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stress_test

    predict, calls = stress_test.Client.predict, iter(range(100))

    def surprising(self, image):  # type: ignore[no-untyped-def]
        if next(calls) == 3:
            raise ZeroDivisionError
        return predict(self, image)

    monkeypatch.setattr(stress_test.Client, "predict", surprising)
    load = Load(fake_server.url, [b"x"], total=10, connections=3)
    load.run(Progress(10))
    kinds = [outcome.kind for outcome in load.outcomes]
    assert sorted(kinds) == ["ZeroDivisionError", *[ANSWERED] * 9]


def test_what_never_came_back_is_counted_as_missing() -> None:
    lines = report([Outcome(ANSWERED, 0.5)] * 3, total=5, seconds=1.0).splitlines()
    assert [line.split() for line in lines[1:3]] == [["answered", "3"], ["missing", "2"]]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, value: int) -> None:
    assert percentile(list(range(1, 101)), share) == value


def test_of_one_value_every_percentile_is_that_value() -> None:
    assert [percentile([7.0], share) for share in (0.5, 0.99, 1.0)] == [7.0] * 3
