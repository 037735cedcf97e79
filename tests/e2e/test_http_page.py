"""Every curl line of docs/http.md, run as it stands; what comes back has what the page shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from imagequeue.client import Client, ServerAway
from imagequeue.errors import ClientError, DeadlineExceeded, ImageQueueError, JobFailed, Unavailable
from imagequeue.web.malformed import _REFUSALS
from tests.conftest import KINDS, redis_binary
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, System, eventually

PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = [tuple(part.split("\n", 1)) for block in BLOCKS for part in block.split("$ ")[1:]]
# Names that the null model does not have, and what `…` stands for.
KEYS = re.compile(r'"(\w+)":')


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    running = System(server.url, tmp_path_factory.mktemp("page")).start()
    yield running
    running.stop()
    server.remove()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command[:60] for command, _ in EXAMPLES])
def test_a_line_of_the_page_gives_what_the_page_shows(system: System, command: str, shown: str) -> None:
    line = command.replace("http://127.0.0.1:5000", system.url).replace("models/resnet50", "models/null")
    done = subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert KEYS.findall(shown) == names_in(answer), done.stdout[:500]
    if "location" in answer:
        eventually(
            lambda: "predictions" in str(subprocess.check_output(["curl", "-s", system.url + answer["location"]]))
        )


def test_the_page_has_lines_for_each_protocol() -> None:
    lines = " ".join(command for command, _ in EXAMPLES)
    assert all(path in lines for path in ("/predict", "/v1/models/", "/v2/models/"))
    assert len(EXAMPLES) >= 6


def test_the_page_tells_each_error_that_a_request_can_meet_with_its_status() -> None:
    """All but those that are none of a request's."""
    told = {
        (int(status), code)
        for status, codes in re.findall(r"^\| (\d{3}) \| ([\w, ]+) \|", PAGE, re.MULTILINE)
        for code in codes.split(", ")
    }
    kinds = [*every_kind(ClientError), *every_kind(Unavailable), DeadlineExceeded, JobFailed]
    # Those of the client in Python have a class of their own, and no server answers them.
    there = {(kind.status, kind.code) for kind in kinds if kind not in (Unavailable, ServerAway)}
    # What Flask and the event loop answer by themselves, and the answers to bytes that are not HTTP.
    there |= {(405, "method_not_allowed"), (431, "bad_request"), (500, ImageQueueError.code)}
    codes = [(int(refusal.status[:3]), refusal.code) for _, refusal in _REFUSALS]
    assert told == there | set(codes)


def every_kind(kind: type[ImageQueueError]) -> list[type[ImageQueueError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in every_kind(below))]


def test_the_pages_python_is_the_clients(system: System) -> None:
    """Each method that the page names is there, and takes what it shows."""
    (code,) = re.findall(r"^```python\n(from imagequeue.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    sample = str(ROOT / "samples" / "maze.png")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        code = code.replace(f'"{name}"', repr(sample))
    code = code.replace("http://127.0.0.1:5000", system.url)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/http.md", "exec"), names)
    assert len(names["answers"]) == 2
    with Client(system.url) as client:
        eventually(lambda: client.fetch(names["job"]) is not None)


def names_in(answer: Any) -> list[str]:
    """The names in a JSON document, in the order in which they stand."""
    if isinstance(answer, dict):
        return [found for name, value in answer.items() for found in (name, *names_in(value))]
    if isinstance(answer, list):
        return [found for value in answer for found in names_in(value)]
    return []
