"""The report: one file, well formed, that asks nothing of any other."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from imagequeue.stress.outcome import ANSWERED, Outcome
from imagequeue.stress.report import page
from imagequeue.stress.summary import Summary, summarize


def run(found: list[Outcome], seconds: float = 2.0, **options: object) -> Summary:
    return summarize(found, sent=len(found), seconds=seconds, started="2026-01-31T12:00:00Z", options=options)


def mixed(count: int = 200) -> list[Outcome]:
    kinds = ["queue_full" if n % 10 == 0 else ANSWERED for n in range(count)]
    return [Outcome(kind, n * 2.0 / count, 0.01 * (1 + n % 37)) for n, kind in enumerate(kinds)]


def drawings(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def shapes(drawing: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in drawing if name in each.get("class", "").split()]


def test_it_asks_nothing_of_any_other_file_and_runs_no_script() -> None:
    text = page(run(mixed(), url="http://127.0.0.1:5000"))
    assert not re.search(r"<(script|link|img|iframe|object)\b|\bsrc=|\bhref=|url\(|@import", text)


def test_light_and_dark_are_both_looked_after() -> None:
    assert "prefers-color-scheme: dark" in page(run(mixed()))


def test_its_four_drawings_are_the_numbers() -> None:
    summary = run(mixed())
    histogram, latency, throughput, outcomes = drawings(page(summary))
    bars = shapes(histogram, "bar")
    assert len(bars) == len(summary.histogram)
    assert sum(float(bar[0].text.rsplit(":")[1].split()[0]) for bar in bars) == pytest.approx(100, abs=1)
    assert {name for line in latency for name in line.get("class", "").split()} >= {"p50", "p95", "p99"}
    assert shapes(throughput, "others"), "what was not answered has a curve of its own"
    assert [bar[0].text for bar in outcomes] == ["answered: 180", "queue_full: 20"]


def test_no_shape_leaves_its_drawing() -> None:
    for drawing in drawings(page(run(mixed()), run(mixed(50)))):
        _, _, width, height = map(float, drawing.get("viewBox", "").split())
        for each in drawing:
            for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", each.get("d", "")):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height
            if each.tag == "rect":
                assert 0 <= float(each.get("x", 0)) + float(each.get("width", 0)) <= width + 1


def test_another_run_is_laid_over_it_and_set_beside_it() -> None:
    text = page(run(mixed(), connections=64), run(mixed(100), connections=32))
    assert shapes(drawings(text)[0], "old")
    cells = re.findall(r"<td>(.*?)</td>", text)
    at = cells.index("connections")
    assert cells[at + 1 : at + 3] == ["32", "64"]


@pytest.mark.parametrize("found", [[], [Outcome("server_away", 0.0, 0.1)], [Outcome(ANSWERED, 0.0, 0.1)]])
def test_a_run_of_next_to_nothing_is_a_report_all_the_same(found: list[Outcome]) -> None:
    assert len(drawings(page(run(found, seconds=0.1)))) >= 3


def test_what_a_user_named_cannot_become_markup() -> None:
    text = page(run(mixed(), url="http://x/<script>alert(1)</script>"))
    assert "<script>" not in text


def test_every_element_is_closed() -> None:
    class Checker(HTMLParser):
        stack: list[str]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "br"):
                self.stack.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            return

        def handle_endtag(self, tag: str) -> None:
            assert self.stack.pop() == tag

    checker = Checker()
    checker.stack = []
    checker.feed(page(run(mixed()), run(mixed())))
    assert checker.stack == []
