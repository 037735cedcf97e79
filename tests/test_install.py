"""The first minutes: pip's work told to a person, and each way it fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.install import Progress, install, reason
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
