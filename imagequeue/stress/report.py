"""One run as one HTML file, which asks nothing of any other: to keep, to mail, to open in ten years."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from imagequeue.stress.chart import Plot, number, shares
from imagequeue.stress.summary import GROWTH, Summary
from imagequeue.stress.text import comparison

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f6; --card: #fff; --line: #e3e0d8; --ink: #1d1c1a; --soft: #625e57;
  --good: #0f766e; --bad: #b3261e; --second: #a4620c; --third: #7a5cc2; --old: #8b877d; }
@media (prefers-color-scheme: dark) { :root { --paper: #131515; --card: #1b1e1e; --line: #303535; --ink: #ecedea;
  --soft: #a3aaa6; --good: #4fc3b0; --bad: #ff9a8f; --second: #e0a040; --third: #a78be8; --old: #7b8582; } }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; color: var(--soft); }
section { margin: 1rem 0; padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .5rem; border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; font-weight: normal; } thead th { border: 0; color: var(--soft); }
.numbers { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 0; }
.numbers dt { color: var(--soft); font-size: .85rem; } .numbers dd { margin: 0; font-size: 1.5rem; }
.tick { fill: var(--soft); font-size: 12px; } .grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.bar, .bar.answered { fill: var(--good); } .bar.others { fill: var(--bad); }
.line.p50, .line.answered { stroke: var(--good); } .line.p95 { stroke: var(--second); }
.line.p99 { stroke: var(--third); } .line.others { stroke: var(--bad); }
.line.old { stroke: var(--old); stroke-dasharray: 4 4; }
.legend { display: flex; gap: 1rem; font-size: .85rem; color: var(--soft); }
.legend i { display: inline-block; width: 1rem; height: 0; border-top: 3px solid;
  vertical-align: middle; margin-right: .35rem; }
.legend .p50, .legend .answered { color: var(--good); } .legend .p95 { color: var(--second); }
.legend .p99 { color: var(--third); } .legend .others { color: var(--bad); } .legend .old { color: var(--old); }
"""


def page(summary: Summary, before: Summary | None = None) -> str:
    """The whole file. before: another run to hold it against."""
    options = ", ".join(f"{name} {value}" for name, value in summary.options.items() if value is not None)
    sections = [
        _section("Latency: how many answers took how long", _histogram(summary, before), _legend_of(before)),
        _section("Latency over time, ms", _latency(summary), _legend("p50", "p95", "p99")),
        _section("Throughput over time, answers a second", _throughput(summary), _legend("answered", "others")),
        _section("Outcomes", shares(summary.kinds) + _table(_outcomes(summary), ("outcome", "requests", "share"))),
    ]
    if before is not None:
        rows = [("started", before.started, summary.started, ""), *comparison(before, summary)]
        sections.insert(0, _section("Beside the run before", _table(rows, ("", "before", "now", "change"))))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Stress test</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><h1>Stress test</h1>"
        f"<p>{escape(summary.started)} · {escape(options)}</p>\n"
        f"<section>{_numbers(summary)}</section>\n{''.join(sections)}</body></html>\n"
    )


def _section(title: str, content: str, legend: str = "") -> str:
    return f"<section><h2>{escape(title)}</h2>{content}{legend}</section>\n"


def _numbers(summary: Summary) -> str:
    pairs = [
        ("requests", str(summary.sent)),
        ("answered", str(summary.answered)),
        ("seconds", f"{summary.seconds:.1f}"),
    ]
    pairs += [("images/s", f"{summary.throughput:.1f}")]
    pairs += [(f"{name}, ms", number(ms)) for name, ms in summary.latency.items()]
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="numbers">{cells}</dl>'


def _histogram(summary: Summary, before: Summary | None) -> str:
    """By shares, so that runs of different lengths can be laid over each other."""
    runs = [run for run in (summary, before) if run is not None and run.histogram]
    if not summary.histogram:
        return "<p>Nothing was answered.</p>"
    first = min(run.histogram[0][0] for run in runs) / GROWTH
    last = max(run.histogram[-1][0] for run in runs)
    highest = max(share for run in runs for _, share in _shares(run))
    plot = Plot(
        "Histogram of latencies", x=(first, last), y=(0, highest * 1.15), x_unit="ms", y_unit="%", is_x_log=True
    )
    for end, share in _shares(summary):
        plot.bar(end / GROWTH, end, share, f"{number(end / GROWTH)} to {number(end)} ms: {share:.1f} %")
    if before is not None:
        plot.line("old", ((end / GROWTH**0.5, share) for end, share in _shares(before)))
    for name in ("p50", "p99"):
        plot.mark(name, summary.latency[name], name)
    return plot.svg


def _shares(run: Summary) -> list[tuple[float, float]]:
    return [(end, count / run.answered * 100) for end, count in run.histogram]


def _latency(summary: Summary) -> str:
    names = ("p50", "p95", "p99")
    values = [value for piece in summary.slices for name in names if (value := piece[name]) is not None]
    plot = Plot(
        "Latency over time", x=(0, _length(summary)), y=(0, max(values, default=1) * 1.05 or 1), x_unit="s", y_unit="ms"
    )
    for name in reversed(names):
        plot.line(name, ((_middle(summary, n), piece[name]) for n, piece in enumerate(summary.slices)))
    return plot.svg


def _throughput(summary: Summary) -> str:
    rates = {
        name: [(piece[name] or 0) / _width(summary, n) for n, piece in enumerate(summary.slices)]
        for name in ("answered", "others")
    }
    highest = max(max(values) for values in rates.values())
    plot = Plot("Throughput over time", x=(0, _length(summary)), y=(0, highest * 1.05 or 1), x_unit="s", y_unit="1/s")
    for name, values in rates.items():
        if name == "answered" or any(values):
            plot.line(name, ((_middle(summary, n), value) for n, value in enumerate(values)))
    return plot.svg


def _length(summary: Summary) -> float:
    return max(summary.seconds, summary.slice)


def _width(summary: Summary, n: int) -> float:
    """The last slice ends with the run."""
    return max(1e-3, min(summary.slice, _length(summary) - n * summary.slice))


def _middle(summary: Summary, n: int) -> float:
    return n * summary.slice + _width(summary, n) / 2


def _outcomes(summary: Summary) -> Iterable[tuple[str, str, str]]:
    for kind, count in summary.kinds.items():
        yield kind, str(count), f"{count / max(1, summary.sent) * 100:.1f} %"


def _table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...]) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table><thead>{row(head, 'th')}</thead><tbody>{''.join(row(r, 'td') for r in rows)}</tbody></table>"


def _legend(*names: str) -> str:
    return '<p class="legend">' + "".join(f'<span class="{n}"><i></i>{n}</span>' for n in names) + "</p>"


def _legend_of(before: Summary | None) -> str:
    if before is None:
        return ""
    return '<p class="legend"><span class="answered"><i></i>now</span><span class="old"><i></i>before</span></p>'
