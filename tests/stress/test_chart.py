"""Axes and their marks."""

from __future__ import annotations

import pytest

from imagequeue.stress.chart import HEIGHT, WIDTH, Plot, log_ticks, number, ticks


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 47, [0, 10, 20, 30, 40]),
        (3, 7, [3, 4, 5, 6, 7]),
    ],
)
def test_marks_are_round_and_within_the_axis(first: float, last: float, expected: list[float]) -> None:
    assert list(ticks(first, last)) == pytest.approx(expected)


def test_on_a_logarithmic_axis_they_are_1_2_5_10() -> None:
    assert list(log_ticks(4, 300)) == pytest.approx([5, 10, 20, 50, 100, 200])
    assert list(log_ticks(0.5, 20000)) == pytest.approx([1, 10, 100, 1000, 10000])


@pytest.mark.parametrize(
    ("value", "written"), [(0, "0"), (0.25, "0.25"), (3, "3"), (12.4, "12"), (12345.0, "12 345"), (1.25, "1.2")]
)
def test_numbers_have_the_digits_that_a_mark_needs(value: float, written: str) -> None:
    assert number(value) == written


def test_a_value_beyond_the_axes_is_drawn_at_their_edge() -> None:
    plot = Plot("", x=(1, 100), y=(0, 10), x_unit="", y_unit="", is_x_log=True)
    assert plot.x_at(0.001) == plot.x_at(1) < plot.x_at(10) < plot.x_at(100) == plot.x_at(10**9)
    assert plot.y_at(99) == plot.y_at(10) < plot.y_at(0) == plot.y_at(-5)
    assert plot.x_at(10) == pytest.approx((plot.x_at(1) + plot.x_at(100)) / 2)
    assert max(plot.x_at(100), 0) <= WIDTH
    assert plot.y_at(0) <= HEIGHT


def test_a_curve_has_a_gap_where_nothing_was_measured() -> None:
    plot = Plot("", x=(0, 4), y=(0, 1), x_unit="", y_unit="")
    plot.line("p50", [(0, 1), (1, 1), (2, None), (3, 1)])
    (path,) = [part for part in plot.svg.split("<path") if 'class="line p50"' in part]
    assert path.count("M") == 2
    assert path.count("L") == 1
