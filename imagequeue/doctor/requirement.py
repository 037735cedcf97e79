"""One line of a requirements file. A part of PEP 508, since the package packaging may not be installed.

What the files of this project use is understood: `>=`, `>`, `<=`, `<`, `==`, and markers that compare strings.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?(?P<bounds>[^;]*)(?:;(?P<marker>.+))?")
_BOUND = re.compile(r"(>=|<=|==|>|<)\s*(\d+(?:\.\d+)*)")
# Parts of a version that count; the rest of a longer one is of no use to a bound.
_PARTS = 4


@dataclass(frozen=True)
class Requirement:
    """bounds: ((">=", "3.1"), ("<", "4")). marker: on which machines it is needed; empty for all."""

    name: str
    bounds: tuple[tuple[str, str], ...] = ()
    marker: str = ""

    @classmethod
    def parse(cls, line: str) -> Requirement:
        """Raises ValueError for what is not understood here."""
        match = _LINE.fullmatch(line.strip())
        bounds = [] if match is None else [part.strip() for part in match["bounds"].split(",") if part.strip()]
        found = [_BOUND.fullmatch(bound) for bound in bounds]
        if match is None or not all(found):
            raise ValueError(f"the requirement {line!r} is not understood")
        return cls(match["name"], tuple((one[1], one[2]) for one in found if one), (match["marker"] or "").strip())

    def is_needed(self, machine: Mapping[str, str]) -> bool:
        """machine: the values of the marker's variables. Raises ValueError for a marker that is not understood."""
        return not self.marker or _holds(ast.parse(self.marker, mode="eval").body, machine)

    def allows(self, version: str) -> bool:
        return all(_compare(version, operator, bound) for operator, bound in self.bounds)

    def __str__(self) -> str:
        return self.name + ",".join(operator + bound for operator, bound in self.bounds)


def read(file: Path) -> list[Requirement]:
    """The file's own lines, without those of the files that it includes. Raises OSError and ValueError."""
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement.parse(line) for line in lines if line and not line.startswith("-")]


def this_machine() -> dict[str, str]:
    """What markers ask about."""
    return {
        "python_version": ".".join(map(str, sys.version_info[:2])),
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "os_name": os.name,
    }


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    return tuple((numbers + [0] * _PARTS)[:_PARTS])


def _compare(version: str, operator: str, bound: str) -> bool:
    left, right = _numbers(version), _numbers(bound)
    return {
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
        "==": left == right,
    }[operator]


def _holds(node: ast.expr, machine: Mapping[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        parts = [_holds(value, machine) for value in node.values]
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and isinstance(node.comparators[0], ast.Constant)
    ):
        given, wanted = machine.get(node.left.id), str(node.comparators[0].value)
        operator = {ast.Eq: "==", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}.get(type(node.ops[0]))
        if given is not None and operator is not None:
            is_version = node.left.id.endswith("_version")
            return _compare(given, operator, wanted) if is_version else operator == "==" and given == wanted
    raise ValueError(f"the marker {ast.dump(node)} is not understood")
