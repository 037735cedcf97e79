"""What was seen of an attack, held against what is wanted; the reasons of a bad verdict, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What no request may be answered with; 503 and 504 are answers to too much of them.
SERVER_ERRORS = ("500", "501", "502")


@dataclass(frozen=True)
class Wanted:
    """livez_ms: p99 of /livez. more_ms: how much longer than alone an honest client's image may take (p99).

    answer_seconds: until an attacker is answered or cut off; None where he waits on purpose.
    held: how many of his connections may be open at the end; None for any number.
    web_mb, decoders_mb: of each web process and of its decoders together. recovery_seconds: until all is as before.
    may_answer: which of SERVER_ERRORS attackers may get all the same.
    """

    livez_ms: float = 200.0
    more_ms: float = 1000.0
    answer_seconds: float | None = None
    held: int | None = None
    web_mb: float = 235.0
    decoders_mb: float | None = None
    recovery_seconds: float = 5.0
    may_answer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """Milliseconds, p99 unless named; infinite for what was not answered with 200. MB are peaks."""

    livez_ms: float
    livez_max_ms: float
    alone_ms: float
    honest_ms: float
    honest: Mapping[str, int]
    attackers: Mapping[str, int]
    answer_seconds: float
    held: int
    # Of each web process, and of each one's decoders together.
    web_mb: Sequence[float]
    decoders_mb: Sequence[float]
    # How many decoders a web process had at once.
    decoders: int
    # None: not within the time that was waited.
    recovered_seconds: float | None
    # What the attack itself found, what the log has, processes that ended.
    faults: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def decoders_bound_mb(decoders: int, *, max_image_pixels: int, max_upload_bytes: int) -> float:
    """As docs/internals.md has it, of one web process's decoders together."""
    each = 7e6 + (32 + 144) * 2**20
    return (15e6 + each * decoders + max(18 * max_image_pixels, 52 * max_upload_bytes)) / 1e6


def broken(seen: Seen, wanted: Wanted) -> list[str]:
    """Why it is not as wanted; empty if it is."""
    found = list(seen.faults)
    if not seen.livez_ms <= wanted.livez_ms:
        found.append(f"/livez p99 {shown(seen.livez_ms)} ms, wanted {wanted.livez_ms:.0f}")
    if not seen.honest_ms <= seen.alone_ms + wanted.more_ms:
        found.append(
            f"honest p99 {shown(seen.honest_ms)} ms, alone {shown(seen.alone_ms)}, wanted {wanted.more_ms:.0f} more"
        )
    refused = {status: count for status, count in seen.honest.items() if status != "200"}
    if refused:
        found.append(f"honest clients got {counted(refused)}")
    wrong = {status: n for status, n in seen.attackers.items() if status in SERVER_ERRORS}
    wrong = {status: n for status, n in wrong.items() if status not in wanted.may_answer}
    if wrong:
        found.append(f"attackers got {counted(wrong)}")
    if wanted.answer_seconds is not None and not seen.answer_seconds <= wanted.answer_seconds:
        found.append(f"an attacker was served for {seen.answer_seconds:.1f} s, wanted {wanted.answer_seconds:.1f}")
    if wanted.held is not None and seen.held > wanted.held:
        found.append(f"{seen.held} attackers still held at the end, wanted {wanted.held}")
    if most(seen.web_mb) > wanted.web_mb:
        found.append(f"a web process had {most(seen.web_mb):.0f} MB, wanted {wanted.web_mb:.0f}")
    if wanted.decoders_mb is not None and most(seen.decoders_mb) > wanted.decoders_mb:
        found.append(f"decoders had {most(seen.decoders_mb):.0f} MB, wanted {wanted.decoders_mb:.0f}")
    if seen.recovered_seconds is None:
        found.append("not as before when the attackers had gone")
    elif seen.recovered_seconds > wanted.recovery_seconds:
        found.append(
            f"as before only {seen.recovered_seconds:.1f} s after the attackers had gone, "
            f"wanted {wanted.recovery_seconds:.0f}"
        )
    return found


def most(values: Sequence[float]) -> float:
    return max(values, default=0.0)


def counted(outcomes: Mapping[str, int]) -> str:
    """As `200 x 31, 503 x 2`, the most frequent first."""
    return ", ".join(f"{what} x {count}" for what, count in sorted(outcomes.items(), key=lambda pair: -pair[1]))


def shown(value: float) -> str:
    return "none" if math.isinf(value) else f"{value:.0f}"
