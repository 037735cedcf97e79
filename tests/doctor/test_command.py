"""`python -m imagequeue doctor` as a person and a program start it, on a fresh Python too."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import settings as settings_module
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT

SETTINGS = {name for name, _, _ in settings_module.table()}
SECONDS = 30


def run(*arguments: str, python: tuple[str, ...] = (sys.executable,), **settings: object) -> Any:
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    # The null model, so that no test asks the host of the weights.
    environment |= {"MODEL": "null", "WEB_PORT": "0", "MODEL_CACHE": "none"}
    environment |= {name: str(value) for name, value in settings.items()}
    return subprocess.run(
        [*python, "-m", "imagequeue", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


def document(ended: Any) -> dict[str, dict[str, str]]:
    """The checks by their names."""
    read = json.loads(ended.stdout)
    assert set(read) == {"ok", "checks"}
    assert read["ok"] is (ended.returncode == 0)
    for check in read["checks"]:
        assert set(check) == {"name", "status", "found", "fix"}
        assert bool(check["fix"]) == (check["status"] != "ok"), check
    return {check["name"]: check for check in read["checks"]}


@pytest.fixture
def good_redis(make_redis: Callable[..., RedisServer]) -> RedisServer:
    return make_redis(appendonly="yes")


def test_a_good_machine_is_one_screen_and_ends_with_0(good_redis: RedisServer) -> None:
    ended = run("doctor", REDIS_URL=good_redis.url)
    assert ended.returncode == 0, ended.stdout
    assert ended.stderr == ""
    lines = ended.stdout.splitlines()
    assert "Nothing prevents the service from running" in lines[-1]
    # What a distribution's Redis has of known holes is shown on more of them.
    security = [line for line in lines if "CVE-" in line or "distribution" in line or "→ upgrade" in line]
    assert len(lines) - len(security) <= 24, ended.stdout
    assert all(len(line) <= 100 for line in lines if "→" not in line)
    assert f"at {good_redis.url}" in ended.stdout


def test_the_document_says_the_same_and_nothing_loads_tensorflow(good_redis: RedisServer) -> None:
    python = (sys.executable, "-X", "importtime")
    ended = run("doctor", "--json", python=python, REDIS_URL=good_redis.url)
    checks = document(ended)
    assert checks["redis"]["status"] == "ok"
    assert {"python", "packages", "model", "labels", "web port", "open files", "memory", "processors"} <= set(checks)
    assert " tensorflow" not in ended.stderr
    assert " keras" not in ended.stderr


def test_the_docs_name_every_check(good_redis: RedisServer) -> None:
    text = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    section = text.partition("## Checking a machine\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z ,]+) \|", section, re.MULTILINE)[1:]
    named = {name for row in rows for name in row.split(", ")}
    assert named == set(document(run("doctor", "--json", REDIS_URL=good_redis.url)))


def test_what_is_missing_ends_with_1_and_has_its_line_and_no_password_is_shown(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(
            "doctor",
            "--json",
            REDIS_URL=f"redis://user:hunter2@127.0.0.1:{free_port()}/0",
            WEB_PORT=port,
            MODEL="resnet50",
            MODEL_WEIGHTS=tmp_path / "none.h5",
            MODEL_LABELS=tmp_path / "none.txt",
            LOG_DIR="/proc/self/nothing",
            MAX_CRASHES="few",
            API_KEYS="client:hunter3",
        )
    assert ended.returncode == 1
    checks = document(ended)
    failing = {"redis", "web port", "model", "labels", "log folder", "settings"}
    assert {name for name, check in checks.items() if check["status"] == "failed"} == failing
    assert f"WEB_PORT={port + 1}" in checks["web port"]["fix"]
    assert "hunter" not in ended.stdout + ended.stderr


def test_an_address_that_cannot_be_read_is_no_traceback() -> None:
    ended = run("doctor", REDIS_URL="http://:hunter2@host")
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert "REDIS_URL cannot be read" in ended.stdout
    assert "hunter2" not in ended.stdout


def test_without_a_redis_url_it_names_the_server_that_make_serve_starts() -> None:
    checks = document(run("doctor", "--json"))
    assert "REDIS_URL is not set" in checks["redis"]["found"]


@pytest.mark.parametrize("arguments", [("doctor", "--no-such"), ("surgeon",), ()])
def test_a_wrong_argument_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2


def test_a_python_without_any_package_is_shown_what_to_install() -> None:
    settings = {"REDIS_URL": "redis://127.0.0.1:1/0", "MODEL": "resnet50", "MODEL_WEIGHTS": "random"}
    ended = run("doctor", "--json", python=(sys.executable, "-S"), **settings)
    assert ended.stderr == ""
    assert ended.returncode == 1
    checks = document(ended)
    assert checks["packages"]["status"] == "failed"
    assert "missing" in checks["packages"]["found"]
    assert "redis is not installed" in checks["redis"]["found"]
    for name in ("packages", "redis", "labels"):
        assert checks[name]["fix"]
    for name in ("python", "web port", "temporary folder", "memory", "processors"):
        assert checks[name]["status"] in ("ok", "warning"), checks[name]


def test_a_terminal_of_another_encoding_is_written_to() -> None:
    assert run("doctor", PYTHONIOENCODING="ascii").stderr == ""


def pythons() -> list[Path]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return sorted(root.glob("versions/3.[789].*/bin/python"))


@pytest.mark.parametrize("python", pythons(), ids=lambda python: python.parents[1].name)
def test_a_python_that_is_too_old_fails_as_such(python: Path) -> None:
    checks = document(run("doctor", "--json", python=(str(python),)))
    assert list(checks) == ["python"]
    assert checks["python"]["status"] == "failed"
    assert "too old" in checks["python"]["found"]
