"""The README's commands, executed as they stand there: only addresses, paths and counts are this machine's."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagequeue.connections import connect
from imagequeue.jobqueue import JobQueue
from tests.conftest import KINDS, redis_binary
from tests.support.redisserver import RedisServer
from tests.support.system import IMAGES, ROOT, WEIGHTS, Script, System, eventually

README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "samples" / "crossword.png"
HAS_WEIGHTS = WEIGHTS.is_file()


def console() -> dict[str, str]:
    """Each command of the README's transcripts, with what it is said to print."""
    found: dict[str, str] = {}
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = entry.partition("\n")
            found[command] = printed.strip()
    return found


def starting(word: str) -> tuple[str, str]:
    """The transcript's only command with this word, and what it is said to print."""
    (entry,) = [(command, printed) for command, printed in console().items() if word in command]
    return entry


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """With the weights that the README's numbers come from, where they are; else with the null model."""
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    real = {"MODEL": "resnet50", "MODEL_WEIGHTS": WEIGHTS, "MAX_BATCH_SIZE": 1, "RUNTIME": "tensorflow"}
    settings = real if HAS_WEIGHTS else {"MODEL": "null"}
    system = System(server.url, tmp_path_factory.mktemp("system"), DRAIN_SECONDS=0, **settings)
    try:
        yield system.start()
    finally:
        system.stop()
        server.remove()


def run(system: System, command: str, *more: str) -> str:
    """What the command prints; it must end with 0."""
    photo = IMAGES / "castle_image.jpg" if IMAGES.is_dir() else SAMPLE
    words = shlex.split(command)
    if words[0] == "curl":
        words[1:1] = ["--silent", "--show-error", "--fail"]
    words = [re.sub(r"(http://)?(127\.0\.0\.1|localhost):5000", system.url, word) for word in words]
    words = [re.sub(r"photo\.jpg$", str(photo), word) for word in words]
    words = [sys.executable if word == ".venv/bin/python" else word for word in words]
    ended = subprocess.run([*words, *more], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
    return ended.stdout


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


@needs_curl
@pytest.mark.slow
def test_the_curl_line_gives_the_answer_that_is_shown(system: System) -> None:
    command, shown = starting("curl")
    answer = json.loads(run(system, command))
    wanted = json.loads(shown.replace(", …]", "]"))
    assert list(answer) == list(wanted)
    assert len(answer["id"]) == len(wanted["id"])
    if HAS_WEIGHTS:
        first, shown_first = answer["predictions"][0], wanted["predictions"][0]
        assert (answer["model"], first["label"]) == (wanted["model"], shown_first["label"])
        assert first["probability"] == pytest.approx(shown_first["probability"], abs=1e-3)


@pytest.mark.slow
def test_simple_request_prints_the_lines_that_are_shown(system: System) -> None:
    command, shown = starting("simple_request.py")
    lines = run(system, command, "--url", system.url).splitlines()
    pattern = r"(\d)\. (\S+): (\d\.\d{4})"
    found = [re.fullmatch(pattern, line) for line in lines]
    wanted = [re.fullmatch(pattern, line) for line in shown.splitlines()]
    assert len(found) == len(wanted) == 5
    assert all(found)
    for mine, readme in zip(found, wanted, strict=True):
        assert mine is not None
        assert readme is not None
        assert mine[1] == readme[1]
        if HAS_WEIGHTS:
            assert float(mine[3]) == pytest.approx(float(readme[3]), abs=1e-3)
            assert mine[2] == readme[2] or float(readme[3]) < 1e-3


def test_stress_test_prints_the_lines_that_are_shown(system: System) -> None:
    command, shown = starting("stress_test.py")
    printed = run(system, command, "--url", system.url, "--requests", "24", "--connections", "8")

    def shape(text: str) -> list[str]:
        return [" ".join(re.sub(r"\d+(\.\d+)?", "N", line).split()) for line in text.strip().splitlines()]

    assert shape(printed) == shape(shown)
    assert re.search(r"answered +24$", printed, re.MULTILINE)


def curl_lines() -> list[str]:
    return re.findall(r"`(curl [^`]+)`", README)


@needs_curl
@pytest.mark.parametrize("command", curl_lines())
def test_each_way_of_sending_an_image_works(system: System, command: str) -> None:
    assert json.loads(run(system, command))["success"] is True


def more_processes() -> list[list[str]]:
    """The scripts under "More processes" with their arguments."""
    section = README.partition("## More processes")[2].partition("\n## ")[0]
    lines = re.findall(r"^\.venv/bin/python (\S.*?)  ", section, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_readme_has_what_is_tested_here() -> None:
    assert len(console()) >= 3
    assert len(curl_lines()) >= 2
    assert len(more_processes()) >= 3


@pytest.mark.parametrize("words", more_processes(), ids=" ".join)
def test_each_script_under_more_processes_starts_and_drains_with_0(
    words: list[str], redis_server: RedisServer, make_system: Callable[..., System], tmp_path: Path
) -> None:
    system = make_system(redis_server, DRAIN_SECONDS=0)
    script: Script
    if words[0] == "run_web_server.py":
        script = system.web()
    else:
        script = system.worker(*words[1:])
        count = int(words[-1]) if "--workers" in words else 1
        queue = JobQueue(connect(redis_server.url, name="test"))
        eventually(lambda: queue.live_workers() == count)
    script.signal(signal.SIGTERM)
    assert script.wait() == 0
