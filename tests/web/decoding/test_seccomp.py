"""A process that has forbidden itself processes can start threads, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

import run_web_server
from imagequeue.web.decoding import seccomp
from tests.support.system import ROOT

TRIED = """
import os, subprocess, threading
from imagequeue.web.decoding import seccomp

print(seccomp.is_available(), seccomp.forbidding()())
for what in (os.fork, lambda: os.execv("/bin/true", ["true"]), lambda: subprocess.run(["/bin/true"])):
    try:
        what()
        print("could")
    except PermissionError:
        print("could not")
thread = threading.Thread(target=print, args=["thread"])
thread.start()
thread.join()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="filters of system calls are Linux's")
def test_threads_start_and_neither_processes_nor_programs_do() -> None:
    done = subprocess.run([sys.executable, "-c", TRIED], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.stdout.startswith("False False"):
        pytest.skip("this kernel, or this machine, has no filters")
    assert (done.stdout.split("\n"), done.stderr) == (["True True", *["could not"] * 3, "thread", ""], "")


def test_where_it_cannot_be_done_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    assert not seccomp.forbidding()()
    assert not seccomp.is_available()


@pytest.mark.parametrize(("is_available", "lines"), [(True, 0), (False, 1)])
def test_a_start_without_filters_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_available: bool, lines: int
) -> None:
    monkeypatch.setattr(seccomp, "is_available", lambda: is_available)
    run_web_server.warn_of_missing_filter()
    assert [record.message for record in caplog.records] == ["decoders_not_filtered"] * lines


@pytest.mark.parametrize("machine", seccomp._MACHINES.values(), ids=seccomp._MACHINES)
def test_the_filter_ends_wherever_it_goes(machine: seccomp._Machine) -> None:
    program = seccomp._program(machine)
    lines = [program[at : at + 8] for at in range(0, len(program), 8)]
    for number, line in enumerate(lines):
        is_jump = line[0] & 7 == 5
        assert not is_jump or number + 1 + max(line[2], line[3]) < len(lines)
    assert lines[-1][0] == 6
