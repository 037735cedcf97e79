"""One screen for a person, one document for a program."""

from __future__ import annotations

import json

from imagequeue.doctor.check import failed, ok, warning
from imagequeue.doctor.report import COLUMNS, as_json, as_text, is_ok

FINE = ok("python", "3.13.1")
DOUBTFUL = warning("redis memory", "maxmemory-policy allkeys-lru " * 6, "redis-cli CONFIG SET " + "x" * 120)
WRONG = failed("web port", "5000 is taken", "WEB_PORT=5001")


def test_a_check_is_one_line_and_the_line_that_fixes_it_is_below_it() -> None:
    assert as_text([FINE, WRONG]).splitlines() == [
        "ok      python            3.13.1",
        "failed  web port          5000 is taken",
        "                          → WEB_PORT=5001",
        "1 check fails, 0 warnings: a line with → fixes what is above it.",
    ]


def test_what_was_found_is_broken_at_the_screens_width_and_the_line_to_copy_is_not() -> None:
    lines = as_text([DOUBTFUL]).splitlines()
    assert all(len(line) <= COLUMNS for line in lines if "→" not in line)
    assert f"→ {DOUBTFUL.fix}" in lines[-2]


def test_warnings_prevent_nothing_and_a_failed_check_does() -> None:
    assert is_ok([FINE, DOUBTFUL])
    assert as_text([FINE, DOUBTFUL]).endswith("Nothing prevents the service from running; 1 warning.")
    assert not is_ok([FINE, DOUBTFUL, WRONG, WRONG])
    assert "2 checks fail, 1 warning" in as_text([FINE, DOUBTFUL, WRONG, WRONG])


def test_the_document_has_the_same_checks() -> None:
    document = json.loads(as_json([FINE, WRONG]))
    assert document == {
        "ok": False,
        "checks": [
            {"name": "python", "status": "ok", "found": "3.13.1", "fix": ""},
            {"name": "web port", "status": "failed", "found": "5000 is taken", "fix": "WEB_PORT=5001"},
        ],
    }


def test_what_would_act_on_a_terminal_is_escaped() -> None:
    assert "\x1b" not in as_text([ok("redis", "-ERR \x1b[2Jgone")])
