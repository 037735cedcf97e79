"""The checks as text for a terminal, or as JSON for a program."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from imagequeue.doctor.check import FAILED, WARNING, Check
from imagequeue.plaintext import escaped

COLUMNS = 100
_NAME = 18
_INDENT = " " * (8 + _NAME)


def is_ok(checks: Sequence[Check]) -> bool:
    """Whether nothing prevents the service from running; warnings do not."""
    return all(check.status != FAILED for check in checks)


def as_text(checks: Sequence[Check]) -> str:
    """A line for each check, COLUMNS wide at most, below it the line that fixes it; the verdict at the end.

    The line that fixes it is never broken, so that it can be copied.
    """
    lines: list[str] = []
    for check in checks:
        head = f"{check.status:<8}{check.name:<{_NAME}}"
        lines += textwrap.wrap(
            escaped(check.found),
            COLUMNS,
            initial_indent=head,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [head.rstrip()]
        if check.fix:
            lines.append(f"{_INDENT}→ {escaped(check.fix)}")
    return "\n".join([*lines, _verdict(checks)])


def as_json(checks: Sequence[Check]) -> str:
    """{"ok": true, "checks": [{"name": …, "status": "ok", "found": …, "fix": ""}, …]}, indented."""
    document = {"ok": is_ok(checks), "checks": [vars(check) for check in checks]}
    return json.dumps(document, indent=2, ensure_ascii=True)


def _verdict(checks: Sequence[Check]) -> str:
    count = {status: sum(check.status == status for check in checks) for status in (FAILED, WARNING)}
    warnings = f"{count[WARNING]} warning{'s' * (count[WARNING] != 1)}"
    if count[FAILED]:
        verb = "checks fail" if count[FAILED] > 1 else "check fails"
        return f"{count[FAILED]} {verb}, {warnings}: a line with → fixes what is above it."
    return f"Nothing prevents the service from running; {warnings}."
