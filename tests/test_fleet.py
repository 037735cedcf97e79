"""The fleet: a dead process is started again with a pause, a hopeless one is not, and all end with the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagequeue import fleet as fleet_module
from imagequeue.fleet import Fleet
from tests.support.system import ROOT, eventually, is_alive

# Says that it is there, and ends with 0 on SIGTERM, as a worker does.
CHILD = (
    "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
    "open(f'{os.environ[\"AT\"]}/{os.getpid()}', 'w'); signal.sigwait([signal.SIGTERM])"
)


class Running:
    """A fleet in a thread, and what it does."""

    def __init__(self, program: str, count: int, directory: Path, on_death: Callable[[int], object]) -> None:
        self.directory = directory
        self.codes: list[int] = []
        self.fleet = Fleet(
            [sys.executable, "-c", program],
            count,
            environment={**os.environ, "AT": str(directory)},
            on_death=on_death,
        )
        self.thread = threading.Thread(target=lambda: self.codes.append(self.fleet.run()))
        self.thread.start()

    def pids(self) -> set[int]:
        """Of all children that ever came so far as to say so."""
        return {int(file.name) for file in self.directory.iterdir()}

    def end(self) -> int:
        self.fleet.stop()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()
        return self.codes[0]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    monkeypatch.setattr(fleet_module, "FIRST_PAUSE", 0.02)
    fleets: list[Running] = []

    def make(program: str = CHILD, count: int = 1, on_death: Callable[[int], object] = lambda pid: None) -> Running:
        fleets.append(Running(program, count, tmp_path, on_death))
        return fleets[-1]

    yield make
    for running in fleets:
        running.end()


def test_as_many_as_asked_for_run_and_a_stop_drains_all(start: Callable[..., Running]) -> None:
    running = start(count=3)
    eventually(lambda: len(running.pids()) == 3)
    assert running.end() == 0
    assert not [pid for pid in running.pids() if is_alive(pid)]


def test_a_child_is_told_to_drain_once_and_by_the_supervisor_only(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    program = textwrap.dedent(
        """
        import os, signal, time
        told = []
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
        open(f"{os.environ['AT']}/{os.getpid()}", "w").close()
        while not told:
            time.sleep(0.01)
        # Time for a second one to come.
        time.sleep(0.3)
        raise SystemExit(len(told) - 1)
        """
    )
    running = start(program)
    eventually(lambda: running.pids())
    (child,) = running.pids()
    assert os.getpgid(child) != os.getpgrp(), "a terminal's Ctrl-C goes to the supervisor's group"
    assert running.end() == 0


@pytest.mark.parametrize(("ending", "code"), [("os.kill(os.getpid(), signal.SIGKILL)", 9), ("os._exit(143)", 143)])
def test_a_drain_that_went_wrong_is_the_fleets_exit_code(start: Callable[..., Running], ending: str, code: int) -> None:
    running = start(f"{CHILD}; {ending}")
    eventually(running.pids)
    assert running.end() == code


def test_a_child_that_is_still_starting_may_end_as_it_likes(start: Callable[..., Running]) -> None:
    says_so = "open(f'{os.environ[\"AT\"]}/{os.getpid()}', 'w')"
    running = start(f"import os, signal; {says_so}; signal.alarm(60); signal.pause()")
    eventually(running.pids)
    assert running.end() == 0


def test_a_dead_one_is_started_again_and_its_death_is_told_once(start: Callable[..., Running]) -> None:
    deaths: list[int] = []
    running = start(count=2, on_death=deaths.append)
    eventually(lambda: len(running.pids()) == 2)
    victim, survivor = sorted(running.pids())
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(running.pids()) == 3)
    assert deaths == [victim]
    assert is_alive(survivor)
    assert running.end() == 0


def test_the_pause_before_the_next_start_doubles_up_to_a_limit(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet_module, "LONGEST_PAUSE", 0.1)
    deaths: list[int] = []
    start("raise SystemExit(1)", on_death=deaths.append)
    eventually(lambda: len(deaths) >= 5)
    records = [record for record in caplog.records if record.msg == "child_died"]
    pauses = [record.fields["start_again_in"] for record in records]  # type: ignore[attr-defined]
    assert pauses[:5] == [0.02, 0.04, 0.08, 0.1, 0.1]


def test_after_a_healthy_life_the_pause_is_the_first_again(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet_module, "HEALTHY_SECONDS", 0.0)
    deaths: list[int] = []
    start("raise SystemExit(1)", on_death=deaths.append)
    eventually(lambda: len(deaths) >= 3)
    records = [record for record in caplog.records if record.msg == "child_died"]
    assert {record.fields["start_again_in"] for record in records} == {0.02}  # type: ignore[attr-defined]


def test_where_another_start_is_hopeless_all_end_with_that_code(start: Callable[..., Running]) -> None:
    program = textwrap.dedent(
        f"""
        import os, pathlib, time
        try:
            os.mkdir(os.environ["AT"] + "/1")
        except FileExistsError:
            # The second waits until the first serves, and then finds its setting wrong.
            while len(list(pathlib.Path(os.environ["AT"]).iterdir())) < 2:
                time.sleep(0.01)
            raise SystemExit(2)
        {CHILD}
        """
    )
    deaths: list[int] = []
    running = start(program, count=2, on_death=deaths.append)
    running.thread.join(timeout=20)
    assert running.codes == [2]
    assert deaths == []


def test_a_burial_that_fails_does_not_end_the_fleet(start: Callable[..., Running]) -> None:
    def fails(pid: int) -> None:
        raise ConnectionError

    running = start(on_death=fails)
    eventually(lambda: len(running.pids()) == 1)
    os.kill(next(iter(running.pids())), signal.SIGKILL)
    eventually(lambda: len(running.pids()) == 2)
    assert running.end() == 0


def test_a_stop_before_the_first_start_ends_at_once(start: Callable[..., Running], tmp_path: Path) -> None:
    fleet = Fleet([sys.executable, "-c", CHILD], 2, environment={"AT": str(tmp_path)}, on_death=lambda pid: None)
    fleet.stop()
    assert fleet.run() == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_when_the_parent_is_killed_the_children_are_told(tmp_path: Path) -> None:
    program = """
import os, sys
from imagequeue.fleet import Fleet
Fleet([sys.executable, "-c", os.environ["CHILD"]], 2, environment=dict(os.environ), on_death=print).run()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "CHILD": CHILD, "AT": str(tmp_path)}
    )
    eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.kill()
    parent.wait()
    children = [int(file.name) for file in tmp_path.iterdir()]
    eventually(lambda: not [pid for pid in children if is_alive(pid)])


def test_a_child_that_cannot_be_started_is_tried_again_and_the_others_go_on(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    popen, failed = subprocess.Popen, []

    def fail_at_first(*arguments: object, **options: object) -> object:
        if len(failed) < 3:
            failed.append(arguments)
            raise BlockingIOError("Resource temporarily unavailable")
        return popen(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(fleet_module.subprocess, "Popen", fail_at_first)
    running = start(count=2)
    eventually(lambda: len(running.pids()) == 2)
    assert len(failed) == 3
    assert running.end() == 0
