"""Which Pythons the packages exist for."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from imagequeue.doctor.python import Interpreter, check, this_interpreter


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 11, 7), (3, 12, 1), (3, 13, 9)])
def test_3_10_to_3_13_are_supported(version: tuple[int, int, int]) -> None:
    assert check(Interpreter(version, "/usr/bin/python3")).status == "ok"


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ({"version": (3, 9, 18)}, "too old"),
        ({"version": (3, 14, 0)}, "too new: TensorFlow has no package for it yet"),
        ({"implementation": "pypy"}, "CPython of 64 bits"),
        ({"bits": 32}, "CPython of 64 bits"),
        ({"has_gil": False}, "without the GIL"),
    ],
)
def test_another_one_fails_with_its_reason(python: dict[str, Any], reason: str) -> None:
    found = check(Interpreter(**{"version": (3, 13, 0), "executable": "/usr/bin/python3", **python}))
    assert found.status == "failed"
    assert reason in found.found
    assert "make clean serve" in found.fix


def test_the_one_that_runs_the_tests_is_described() -> None:
    assert this_interpreter().version == tuple(sys.version_info[:3])
    assert check(this_interpreter()).status == "ok"
