"""One request followed through all servers, in one place: Gunicorn's processes, a fleet's workers, and a client."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.pictures import picture
from tests.support.redisserver import RedisServer
from tests.support.system import ROOT, System, eventually


def run(script: str, url: str, *arguments: str) -> str:
    environment = {**os.environ, "REDIS_URL": url, "LOG_REDIS": "1", "SERVER_NAME": "laptop"}
    command = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_job_is_followed_by_its_id_through_every_process_that_had_it(
    redis_server: RedisServer, make_system: Callable[..., System], tmp_path: Path
) -> None:
    system = make_system(redis_server, LOG_REDIS=1)
    system.worker("--workers", "2", wait=False, SERVER_NAME="worker-a")
    system.web(WEB_PROCESSES=2, SERVER_NAME="web-1")
    eventually(system.is_ready, seconds=60, what="/readyz")
    (tmp_path / "photo.png").write_bytes(picture(7))
    run("simple_request.py", redis_server.url, "--url", system.url, str(tmp_path / "photo.png"))
    mine = run("logutil.py", redis_server.url, "--server", "laptop").splitlines()
    (job,) = [part.partition("=")[2] for line in mine for part in line.split() if part.startswith("job=")]

    def story() -> list[tuple[str, str, str]]:
        lines = run("logutil.py", redis_server.url, "--job", job).splitlines()
        return [(server, script, action) for _, server, script, _, action, *_ in map(str.split, lines)]

    # The servers send what they have every moment; the client, which ends, has sent all.
    eventually(lambda: len(story()) == 5, what="five lines")
    assert set(story()) == {
        ("web-1", "run_web_server.py", "enqueued"),
        ("worker-a", "run_model_server.py", "claimed"),
        ("worker-a", "run_model_server.py", "completed"),
        ("web-1", "run_web_server.py", "answered"),
        ("laptop", "simple_request.py", "answered"),
    }
