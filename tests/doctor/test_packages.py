"""Packages that are missing or do not fit, looked up among made-up ones."""

from __future__ import annotations

from imagequeue.doctor.check import ok
from imagequeue.doctor.packages import VersionOf, check, check_extras, installed
from imagequeue.doctor.requirement import Requirement

INSTALL = "python -m pip install -r requirements.txt"
NEEDED = [Requirement.parse(line) for line in ("flask>=3.1,<4", "redis>=6,<9", "hiredis>=3,<4", 'a; os_name == "nt"')]
MACHINE = {"os_name": "posix"}
ALL = {"flask": "3.1.3", "redis": "8.1.0", "hiredis": "3.5.0"}


def having(versions: dict[str, str], **changed: str | None) -> VersionOf:
    return {**versions, **changed}.get


def test_all_that_this_machine_needs_are_there() -> None:
    found = check(NEEDED, machine=MACHINE, install=INSTALL, version_of=having(ALL))
    assert found == ok("packages", "all 3: flask 3.1.3, redis 8.1.0")


def test_a_missing_one_fails_with_the_line_that_installs_it() -> None:
    found = check(NEEDED, machine=MACHINE, install=INSTALL, version_of=having(ALL, redis=None))
    assert (found.status, found.found, found.fix) == ("failed", "3 needed, 1 missing: redis", INSTALL)


def test_one_of_another_version_fails_and_both_versions_are_shown() -> None:
    found = check(NEEDED, machine=MACHINE, install=INSTALL, version_of=having(ALL, flask="2.3.0", redis=None))
    assert found.status == "failed"
    assert found.found == "3 needed, 1 missing: redis; 1 of another version: flask 2.3.0 instead of flask>=3.1,<4"


def test_one_that_the_service_can_do_without_is_a_warning() -> None:
    found = check(NEEDED, machine=MACHINE, install=INSTALL, version_of=having(ALL, hiredis=None))
    assert (found.status, found.fix) == ("warning", INSTALL)


def test_of_many_missing_ones_the_first_are_named() -> None:
    many = [Requirement(f"package-{number}") for number in range(21)]
    found = check(many, machine=MACHINE, install=INSTALL, version_of=having({}))
    assert found.found.startswith("21 needed, 21 missing: package-0, package-1")
    assert found.found.endswith("and 15 more")


def test_what_only_make_serve_needs_is_a_warning() -> None:
    extras = [Requirement("honcho"), Requirement("openvino")]
    found = check_extras(extras, machine=MACHINE, install=INSTALL, version_of=having({"openvino": "2026.4.1"}))
    assert (found.status, found.fix) == ("warning", INSTALL)
    assert found.found == "for make serve and for speed, 1 missing: honcho"
    found = check_extras(extras[1:], machine=MACHINE, install=INSTALL, version_of=having({"openvino": "2026.4.1"}))
    assert found == ok("extras", "openvino 2026.4.1")


def test_versions_are_those_of_the_installed_packages() -> None:
    assert installed("pytest")
    assert installed("a-package-that-nobody-has") is None
