"""simple_request.py as a user runs it: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tests.support.fakeserver import FakeServer, Reply, answer, refusal
from tests.support.redisserver import free_port
from tests.support.system import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "simple_request.py"), *arguments],
        env={**os.environ, "LOG_LEVEL": "info", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def photo(directory: Path, name: str = "photo.jpg") -> str:
    (directory / name).write_bytes(b"bytes of " + name.encode())
    return str(directory / name)


def test_the_labels_are_printed_best_first_and_nothing_else(fake_server: FakeServer, tmp_path: Path) -> None:
    ended = run("--url", fake_server.url, "--top", "3", photo(tmp_path))
    assert ended.stdout == "1. castle: 0.9936\n2. monastery: 0.0045\n3. church: 0.0010\n"
    assert (ended.returncode, ended.stderr) == (0, "")
    assert fake_server.requests[0][0] == "/predict?top=3"


def test_several_files_are_each_headed_by_their_name(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.replies = [answer(), refusal(422, "bad_image", "No image."), answer([("clock", 0.5)])]
    files = [photo(tmp_path, name) for name in ("a.jpg", "b.txt", "c.png")]
    ended = run("--url", fake_server.url, *files)
    assert ended.stdout.splitlines()[:2] == [f"{files[0]}:", "1. castle: 0.9936"]
    assert ended.stdout.splitlines()[-2:] == [f"{files[2]}:", "1. clock: 0.5000"]
    assert ended.stderr == f"{files[1]}: No image.\n"
    assert ended.returncode == 1, "one of them had no answer"


def test_without_a_file_a_picture_of_the_project_is_sent(fake_server: FakeServer) -> None:
    ended = run("--url", fake_server.url)
    assert ended.returncode == 0
    assert fake_server.requests[0][2] == (ROOT / "samples" / "crossword.png").read_bytes()


def test_random_weights_are_said_to_mean_nothing(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.replies = [answer(weights="random")]
    assert "labels mean nothing" in run("--url", fake_server.url, photo(tmp_path)).stdout


def test_a_server_that_is_away_is_told_in_one_line_with_a_way_out(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = run("--url", url, photo(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr == (f"No answer from {url}: connection refused. Is it running? `make serve` starts it.\n")
    assert ended.stdout == ""


def test_a_file_that_cannot_be_read_is_named(fake_server: FakeServer, tmp_path: Path) -> None:
    for name in (str(tmp_path / "none.jpg"), str(tmp_path)):
        ended = run("--url", fake_server.url, name)
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"{name}: ")
        assert ended.stderr.count("\n") == 1
    assert fake_server.requests == []


def test_an_answer_of_another_server_is_no_answer(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.replies = [Reply(200, b"<html>It works!</html>")]
    ended = run("--url", fake_server.url, photo(tmp_path))
    assert ended.returncode == 1
    assert "is no answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_log_has_the_jobs_id(fake_server: FakeServer, tmp_path: Path) -> None:
    run("--url", fake_server.url, photo(tmp_path), LOG_DIR=str(tmp_path / "logs"))
    (line,) = (tmp_path / "logs" / "simple_request.log").read_text().splitlines()
    assert f" simple_request.py INFO answered job={'1f' * 16} " in line


def test_json_is_one_object_for_each_file_the_refused_ones_too(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.replies = [answer(weights="random"), refusal(422, "bad_image", "No image.")]
    files = [photo(tmp_path, name) for name in ("a.jpg", "b.txt")] + [str(tmp_path / "none.jpg")]
    ended = run("--url", fake_server.url, "--json", *files)
    first, second, third = map(json.loads, ended.stdout.splitlines())
    assert ended.returncode == 1
    assert first["file"] == files[0]
    assert first["predictions"][0] == {"label": "castle", "probability": 0.9936}
    assert (first["weights"], first["id"]) == ("random", "1f" * 16)
    assert second == {"file": files[1], "error": {"code": "bad_image", "message": f"{files[1]}: No image."}}
    assert third["error"]["code"] == "unreadable"


def test_on_a_terminal_each_label_has_a_bar_as_long_as_it_is_probable(fake_server: FakeServer, tmp_path: Path) -> None:
    fake_server.replies = [answer([("castle", 0.75), ("a long label", 0.25), ("no", 0.0)])]
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, str(ROOT / "simple_request.py"), "--url", fake_server.url, photo(tmp_path)],
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            timeout=60,
            check=True,
        )
        lines = os.read(ours, 10_000).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    castle, long, no = (line.count("█") for line in lines)
    assert (castle, long, no) == (22, 7, 0)
    starts = [match.start() for line in lines if (match := re.search("█", line))]
    assert len(set(starts)) == 1, "the bars begin in one column"


def test_what_a_server_answers_reaches_the_terminal_as_words(fake_server: FakeServer, tmp_path: Path) -> None:
    hostile = "\x1b[2J\x1b]0;x\x07\r\n\x9b31m\x7f\u202egpj"
    good, bad = answer([(hostile, 0.9)], id=hostile, model=hostile), refusal(422, hostile, hostile)
    fake_server.replies = [good, bad, good, bad]
    file = photo(tmp_path)
    plain, as_json = run("--url", fake_server.url, file, file), run("--url", fake_server.url, "--json", file, file)
    for ended in (plain, as_json):
        assert ended.returncode == 1
        for line in (*ended.stdout.split("\n"), *ended.stderr.split("\n")):
            assert line.isprintable(), line
    assert r"1. \x1b[2J" in plain.stdout
    assert json.loads(as_json.stdout.splitlines()[0])["predictions"][0]["label"] == hostile
