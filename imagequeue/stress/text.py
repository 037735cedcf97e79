"""A run's numbers on a terminal: while it goes on, at its end, and beside another run's."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import TextIO

from imagequeue.plaintext import escaped
from imagequeue.stress.load import Load
from imagequeue.stress.outcome import ANSWERED, Outcome, percentile
from imagequeue.stress.summary import Summary

BAR = 24
# The live line tells of the last seconds and the last answers, not of the whole run: it shows what changes.
RATE_SECONDS = 3.0
LATEST = 1000


class LiveLine:
    """One line that is written over again and again on a terminal; nothing elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_shown = self._stream.isatty()
        self._seen = 0
        self._points: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._latest: deque[Outcome] = deque(maxlen=LATEST)

    def show(self, load: Load, seconds: float) -> None:
        if self._is_shown:
            # Clears what a longer line left behind.
            self._stream.write(f"\r{self.line(load, seconds)}\x1b[K")
            self._stream.flush()

    def end(self) -> None:
        if self._is_shown:
            self._stream.write("\n")

    def line(self, load: Load, seconds: float) -> str:
        done = len(load.outcomes)
        self._latest.extend(load.outcomes[self._seen : done])
        self._seen = done
        self._points.append((seconds, done))
        while len(self._points) > 2 and self._points[0][0] < seconds - RATE_SECONDS:
            self._points.popleft()
        since, before = self._points[0]
        rate = (done - before) / (seconds - since) if seconds > since else 0.0
        share, goal = _progress(load, done, seconds)
        filled = int(BAR * min(1.0, share))
        parts = ["█" * filled + "░" * (BAR - filled), goal, f"{rate:.0f}/s"]
        ordered = sorted(o.seconds for o in self._latest if o.kind == ANSWERED)
        if ordered:
            parts.append("ms " + " ".join(f"p{p} {percentile(ordered, p / 100) * 1000:.0f}" for p in (50, 95, 99)))
        if failed := sum(o.kind != ANSWERED for o in self._latest):
            parts.append(f"{failed} of the last {len(self._latest)} not answered")
        return "  ".join(parts)


def _progress(load: Load, done: int, seconds: float) -> tuple[float, str]:
    if load.duration is not None:
        return seconds / load.duration, f"{done} in {seconds:.0f}/{load.duration:g} s"
    return done / max(1, load.total or 1), f"{done}/{load.total}"


def describe(summary: Summary) -> str:
    """The account of one run, in a few lines."""
    lines = [f"{summary.sent} requests in {summary.seconds:.1f} s"]
    lines += [f"  {escaped(kind):<20} {count}" for kind, count in summary.kinds.items()]
    if summary.latency:
        latency = "  ".join(f"{name} {ms:.0f}" for name, ms in summary.latency.items())
        lines += [f"throughput  {summary.throughput:.1f} images/s", f"latency ms  {latency}"]
    if summary.late >= 100:
        lines.append(
            f"Requests were due up to {summary.late:.0f} ms before a connection was free; their latency is counted "
            "from when they were due."
        )
    return "\n".join(lines)


def compare(before: Summary, now: Summary) -> str:
    """Two runs side by side."""
    rows = [("", "before", "now", "change"), *comparison(before, now)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def comparison(before: Summary, now: Summary) -> Iterator[tuple[str, str, str, str]]:
    """Rows of: what, before, now, the change in percent."""
    yield ("throughput, images/s", *_pair(before.throughput, now.throughput))
    for name in {**before.latency, **now.latency}:
        yield (f"latency {name}, ms", *_pair(before.latency.get(name), now.latency.get(name)))
    for kind in {**before.kinds, **now.kinds}:
        # The code of an error, which is the server's word.
        yield (escaped(kind), *_pair(before.kinds.get(kind, 0), now.kinds.get(kind, 0)))
    for name in {**before.options, **now.options}:
        old, new = before.options.get(name), now.options.get(name)
        if old != new:
            yield (escaped(name), "-" if old is None else escaped(old), "-" if new is None else escaped(new), "")


def _pair(before: float | None, now: float | None) -> tuple[str, str, str]:
    change = f"{(now / before - 1) * 100:+.1f} %" if before and now is not None else ""
    return (_number(before), _number(now), change)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
