"""The table: one line for each attack, all of one width."""

from __future__ import annotations

import dataclasses

from bench.attacks.report import HEADS, cells, heads, line, reasons, shortened
from bench.attacks.row import Row
from tests.bench.attacks.test_verdict import SEEN

GOOD = Row("scans", "files", "", 5.0, SEEN, [])
BAD = Row(
    "thin", "files", "", 5.0, dataclasses.replace(SEEN, recovered_seconds=None, notes=("1 MB",)), ["late", "large"]
)


def test_each_row_has_a_cell_for_each_head_and_a_verdict() -> None:
    for row, verdict in ((GOOD, "as wanted"), (BAD, "NOT AS WANTED")):
        assert len(cells(row)) == len(HEADS)
        assert cells(row)[-1] == verdict
    assert {text.count("|") for text in (*heads().splitlines(), line(cells(GOOD)), line(cells(BAD)))} == {
        len(HEADS) + 1
    }


def test_memory_is_of_the_largest_process() -> None:
    assert "235, 1200" in cells(GOOD)


def test_every_reason_and_every_note_has_a_line() -> None:
    assert reasons([GOOD, BAD]).splitlines() == ["thin: late", "thin: large", "thin, noted: 1 MB"]


def test_rare_outcomes_are_counted_together() -> None:
    assert shortened({"200": 9, "400": 8, "503": 7, "504": 6, "cut off": 2, "held": 1}) == (
        "200 x 9, 400 x 8, 503 x 7, 504 x 6, others x 3"
    )
