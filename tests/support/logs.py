"""Log lines, read as a terminal or a file has them; and programs that write some."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap

import pytest

import logutil
from tests.support.system import ROOT

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z host-1 run_test\.py (DEBUG|INFO|WARNING|ERROR) (\S+)(.*)")


class Terminal:
    """What went to standard error so far."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capfd.readouterr().err
        return self._text


def configure(**options: str) -> None:
    logutil.configure(**({"server": "host-1", "script": "run_test.py"} | options))


def run(program: str, *, stderr: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: forks and file descriptors are not to be tried in the one that runs the tests."""
    setting_up = "import logging, os, sys, threading\nimport logutil\n"
    return subprocess.run(
        [sys.executable, "-c", setting_up + textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
        check=False,
    )
