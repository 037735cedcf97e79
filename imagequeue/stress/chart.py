"""Charts as SVG text, without a library: a few hundred bytes each, and coloured by the page's own style sheet.

Shapes carry class names only: `bar`, `line`, `grid`, `tick`, and the name of their series.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 34


class Plot:
    """One pair of axes: draw into it, then take `svg`. Values outside the axes are drawn at their edge."""

    def __init__(
        self,
        title: str,
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        x_unit: str,
        y_unit: str,
        is_x_log: bool = False,
    ) -> None:
        """title: for who cannot see it. x, y: the axes' first and last value, which differ."""
        self._title = title
        self._x, self._y = x, y
        self._is_x_log = is_x_log
        self._parts: list[str] = []
        for value in ticks(*y):
            height = self.y_at(value)
            self._parts.append(f'<path class="grid" d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}"/>')
            self._text(LEFT - 6, height + 4, number(value), "end")
        for value in log_ticks(*x) if is_x_log else ticks(*x):
            self._text(self.x_at(value), HEIGHT - BOTTOM + 16, number(value), "middle")
        self._text(WIDTH - RIGHT, HEIGHT - 3, x_unit, "end")
        self._text(0, 11, y_unit, "start")

    def x_at(self, value: float) -> float:
        first, last = self._x
        if self._is_x_log:
            first, last, value = math.log(first), math.log(last), math.log(max(value, first))
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, (value - first) / (last - first)))

    def y_at(self, value: float) -> float:
        first, last = self._y
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, (value - first) / (last - first)))

    def bar(self, start: float, end: float, height: float, said: str, name: str = "") -> None:
        left, right, top = self.x_at(start), self.x_at(end), self.y_at(height)
        width = max(1.0, right - left - 1)
        self._parts.append(
            f'<rect class="bar {name}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{HEIGHT - BOTTOM - top:.1f}"><title>{escape(said)}</title></rect>'
        )

    def line(self, name: str, points: Iterable[tuple[float, float | None]]) -> None:
        """A curve that has a gap wherever a value is None; a point between two gaps is a dot."""
        path, is_down = [], False
        for x, y in points:
            if y is None:
                is_down = False
                continue
            path.append(f"{'L' if is_down else 'M'}{self.x_at(x):.1f} {self.y_at(y):.1f}" + ("" if is_down else "h.01"))
            is_down = True
        self._parts.append(f'<path class="line {name}" d="{"".join(path)}"/>')

    def mark(self, name: str, x: float, said: str) -> None:
        """A vertical line with a word on top."""
        at = self.x_at(x)
        self._parts.append(f'<path class="line {name}" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        self._text(at, TOP - 6, said, "middle")

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self._parts.append(f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    @property
    def svg(self) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self._title)}">'
            f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>{"".join(self._parts)}</svg>'
        )


def shares(counts: Mapping[str, int]) -> str:
    """One bar, cut where one kind ends and the next begins."""
    total = sum(counts.values()) or 1
    parts, left = [], 0.0
    for kind, count in counts.items():
        width = count / total * WIDTH
        name = "answered" if kind == "answered" else "others"
        parts.append(
            f'<rect class="bar {name}" x="{left:.1f}" y="0" width="{max(0.5, width - 1):.1f}" height="18">'
            f"<title>{escape(kind)}: {count}</title></rect>"
        )
        left += width
    return f'<svg viewBox="0 0 {WIDTH} 18" role="img" aria-label="Outcomes">{"".join(parts)}</svg>'


def ticks(first: float, last: float, wanted: int = 5) -> Sequence[float]:
    """Round values between two, about as many as wanted."""
    rough = (last - first) / wanted
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough * 0.999)
    return [n * step for n in range(math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9) + 1)]


def log_ticks(first: float, last: float) -> Sequence[float]:
    """1, 2, 5, 10, 20, … as far as they lie between two; only the powers of ten where these are many."""
    decades = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    factors = (1, 2, 5) if last / first < 1000 else (1,)
    return [value for n in decades for factor in factors if first <= (value := factor * 10.0**n) <= last]


def number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 10 or value == int(value) else f"{value:.2g}"
