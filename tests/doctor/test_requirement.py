"""The lines of requirements*.txt, as far as this project uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.doctor.requirement import Requirement, read, this_machine
from tests.support.system import ROOT

LINUX = {"python_version": "3.11", "sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}


@pytest.mark.parametrize(
    ("version", "is_right"),
    [("3.1", True), ("3.1.3", True), ("3.10.0", True), ("3.0.9", False), ("4.0.0rc1", False), ("4", False)],
)
def test_a_version_is_compared_by_its_numbers(version: str, is_right: bool) -> None:
    assert Requirement.parse("flask>=3.1,<4").allows(version) is is_right


def test_a_line_has_a_name_bounds_and_a_marker() -> None:
    line = 'tritonclient[http]>=2.50, <3; sys_platform == "linux"'
    assert Requirement.parse(line) == Requirement(
        "tritonclient", ((">=", "2.50"), ("<", "3")), 'sys_platform == "linux"'
    )
    assert str(Requirement.parse(line)) == "tritonclient>=2.50,<3"


@pytest.mark.parametrize(
    ("marker", "is_needed"),
    [
        ('python_version < "3.15"', True),
        ('python_version < "3.9"', False),
        ('sys_platform == "darwin" or (sys_platform == "linux" and platform_machine == "x86_64")', True),
        ('sys_platform == "linux" and platform_machine == "aarch64"', False),
    ],
)
def test_a_marker_says_on_which_machines_it_is_needed(marker: str, is_needed: bool) -> None:
    assert Requirement.parse(f"a; {marker}").is_needed(LINUX) is is_needed


@pytest.mark.parametrize("line", ["a @ https://example.org/a.whl", "a~=1.0", "a>=1.*"])
def test_a_line_that_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        Requirement.parse(line)


def test_a_marker_that_is_not_understood_is_refused() -> None:
    with pytest.raises(ValueError, match="not understood"):
        Requirement.parse('a; extra == "fast"').is_needed(LINUX)


@pytest.mark.parametrize("file", sorted(ROOT.glob("requirements*.txt")), ids=lambda file: file.name)
def test_every_line_of_this_project_is_understood(file: Path) -> None:
    assert read(file)
    for requirement in read(file):
        requirement.is_needed(this_machine())
