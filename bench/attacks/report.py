"""The table of all attacks, and the reasons below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.attacks.row import Row
from bench.attacks.verdict import counted, most, shown

HEADS = (
    "attack",
    "/livez p99, max (ms)",
    "image p99 alone, during (ms)",
    "honest clients got",
    "attackers got",
    "largest web process, its decoders (MB)",
    "as before after (s)",
    "verdict",
)
MOST_OUTCOMES = 4


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def heads() -> str:
    return line(HEADS) + "\n" + "|---" * len(HEADS) + "|"


def cells(row: Row) -> tuple[str, ...]:
    seen = row.seen
    return (
        row.name,
        f"{shown(seen.livez_ms)}, {shown(seen.livez_max_ms)}",
        f"{shown(seen.alone_ms)}, {shown(seen.honest_ms)}",
        counted(seen.honest),
        shortened(seen.attackers),
        f"{most(seen.web_mb):.0f}, {most(seen.decoders_mb):.0f}",
        "never" if seen.recovered_seconds is None else f"{seen.recovered_seconds:.1f}",
        "NOT AS WANTED" if row.broken else "as wanted",
    )


def shortened(outcomes: Mapping[str, int]) -> str:
    """The most frequent, and the number of the others."""
    ordered = sorted(outcomes.items(), key=lambda pair: -pair[1])
    rest = sum(count for _, count in ordered[MOST_OUTCOMES:])
    return counted(dict(ordered[:MOST_OUTCOMES])) + (f", others x {rest}" if rest else "")


def reasons(rows: Sequence[Row]) -> str:
    """One line for each reason and each note."""
    lines = [f"{row.name}: {reason}" for row in rows for reason in row.broken]
    lines += [f"{row.name}, noted: {note}" for row in rows for note in row.seen.notes]
    return "\n".join(lines)
