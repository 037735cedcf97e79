"""Which Python `make` takes, with interpreters that only say what they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.system import ROOT


class Machine:
    """A machine with these interpreters, and no other."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.home = directory / "home"
        self.venv = directory / "venv"
        self.bin.mkdir()
        for name in ("sort", "cut", "sed", "rm", "cat", "mkdir", "touch", "sh"):
            (found,) = [place for place in (Path("/usr/bin") / name, Path("/bin") / name) if place.exists()][:1]
            (self.bin / name).symlink_to(found)

    def program(self, file: Path, text: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return file

    def python(self, name: str, version: str, amiss: str = "", *, file: Path | None = None) -> Path:
        """An interpreter that has looked at itself, and makes environments that have its name in them."""
        makes = 'mkdir -p "$3/bin"; echo "$0" > "$3/made_by"; touch "$3/bin/python"'
        text = f'case "$1" in -c) echo "{version} {amiss}";; -m) {makes};; esac'
        return self.program(file or self.bin / name, text)

    def pyenv(self, version: str) -> Path:
        file = self.home / ".pyenv" / "versions" / version / "bin" / "python"
        return self.python("python", version, file=file)

    def make(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(ROOT / "scripts" / "make_venv.sh"), str(self.venv)],
            env={"PATH": str(self.bin), "HOME": str(self.home)} | environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def made_by(self) -> str:
        return (self.venv / "made_by").read_text().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_that_fits_is_taken_and_named(machine: Machine) -> None:
    machine.python("python3", "3.9.2", "too old")
    machine.python("python3.14", "3.14.0", "too new")
    machine.python("python3.11", "3.11.2")
    newest = machine.python("python3.12", "3.12.7")
    made = machine.make()
    assert made.returncode == 0, made.stderr
    assert machine.made_by() == str(newest)
    assert made.stdout == f"Python 3.12.7 ({newest})\n"


def test_the_systems_python3_is_taken_where_no_other_name_is_there(machine: Machine) -> None:
    only = machine.python("python3", "3.10.12")
    assert machine.make().returncode == 0
    assert machine.made_by() == str(only)


def test_pyenvs_versions_count_though_none_of_them_is_switched_on(machine: Machine) -> None:
    machine.program(machine.bin / "python3.13", "echo pyenv: python3.13: command not found >&2; exit 127")
    machine.python("python3", "3.11.7")
    machine.pyenv("3.13.2")
    newest = machine.pyenv("3.13.10")
    machine.pyenv("3.12.9")
    assert machine.make().returncode == 0
    assert machine.made_by() == str(newest)


def test_one_without_what_an_environment_needs_is_passed_over(machine: Machine) -> None:
    machine.python("python3.13", "3.13.0", "its module ensurepip is missing")
    other = machine.python("python3.11", "3.11.2")
    assert machine.make().returncode == 0
    assert machine.made_by() == str(other)


def test_the_one_that_the_user_names_is_taken_though_there_are_newer_ones(machine: Machine) -> None:
    machine.python("python3.13", "3.13.0")
    named = machine.python("my python", "3.10.4")
    assert machine.make(PYTHON=str(named)).returncode == 0
    assert machine.made_by() == str(named)


@pytest.mark.parametrize("named", ["python3.14", "python3.9", "nothing"])
def test_a_named_one_that_does_not_fit_is_refused_and_no_other_taken(machine: Machine, named: str) -> None:
    machine.python("python3.13", "3.13.0")
    machine.python("python3.14", "3.14.0", "too new: TensorFlow has no package for it yet")
    machine.python("python3.9", "3.9.1", "too old")
    made = machine.make(PYTHON=named)
    assert made.returncode == 1
    assert f"  {named}" in made.stdout
    assert "make PYTHON=/path/to/python3.12" in made.stdout
    assert not machine.venv.exists()


def test_where_none_fits_each_is_named_with_what_is_amiss_and_a_way_out(machine: Machine) -> None:
    machine.python("python3", "3.14.0", "too new: TensorFlow has no package for it yet")
    machine.python("python3.12", "3.12.3", "its module ensurepip is missing")
    made = machine.make()
    assert made.returncode == 1
    assert "3.10, 3.11, 3.12 or 3.13 is needed" in made.stdout
    assert "python3, 3.14.0: too new: TensorFlow has no package for it yet" in made.stdout
    assert "python3.12, 3.12.3: its module ensurepip is missing" in made.stdout
    assert "apt-get install python3-venv" in made.stdout
    assert "brew install python" in made.stdout
    assert not machine.venv.exists()


def test_a_machine_without_any_is_told_so(machine: Machine) -> None:
    made = machine.make()
    assert made.returncode == 1
    assert "  none" in made.stdout


def test_an_environment_that_cannot_be_made_is_not_left_half_made(machine: Machine) -> None:
    machine.program(machine.bin / "python3", 'case "$1" in -c) echo "3.12.1 ";; *) mkdir -p "$3/bin"; exit 1;; esac')
    made = machine.make()
    assert made.returncode == 1
    assert "apt-get install python3-venv" in made.stdout
    assert not machine.venv.exists()


def test_an_environment_that_has_lost_its_python_is_filled_again(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.venv.mkdir()
    (machine.venv / ".serve").touch()
    assert machine.make().returncode == 0
    assert not (machine.venv / ".serve").exists()


def test_uv_makes_it_where_it_is_there_and_python_where_uv_fails(machine: Machine) -> None:
    python = machine.python("python3", "3.12.1")
    makes = 'for venv; do :; done; mkdir -p "$venv/bin"; echo uv "$@" > "$venv/made_by"'
    uv = machine.program(machine.bin / "uv", makes)
    assert machine.make().returncode == 0
    assert machine.made_by() == f"uv venv --quiet --seed --allow-existing --python {python} {machine.venv}"
    machine.program(uv, "exit 2")
    assert machine.make().returncode == 0
    assert machine.made_by() == str(python)


def test_a_real_interpreter_says_what_it_is(machine: Machine) -> None:
    # All but the environment, which takes seconds to make.
    look = f'case "$1" in -c) exec {sys.executable} "$@";; -m) mkdir -p "$3/bin";; esac'
    python = machine.program(machine.bin / "python3", look)
    assert machine.make().stdout == "Python {}.{}.{} ({})\n".format(*sys.version_info[:3], python)


def test_make_hands_over_what_it_was_given(machine: Machine, tmp_path: Path) -> None:
    python = machine.python("an interpreter", "3.12.1")
    python_file = machine.venv / "bin" / "python"
    subprocess.run(["make", f"PYTHON={python}", f"VENV={machine.venv}", str(python_file)], cwd=ROOT, check=True)
    assert machine.made_by() == str(python)
