"""What a person sees on a terminal."""

from __future__ import annotations

import io

from imagequeue.stress.load import Load
from imagequeue.stress.outcome import ANSWERED, Outcome
from imagequeue.stress.summary import Summary, summarize
from imagequeue.stress.text import LiveLine, compare, describe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(count: int, seconds: float, latency: float, **options: object) -> Summary:
    found = [Outcome(ANSWERED, 0.0, latency) for _ in range(count)]
    return summarize(found, sent=count, seconds=seconds, started="", options=options)


def load(**limits: object) -> Load:
    return Load("http://127.0.0.1", [b"x"], connections=1, **limits)  # type: ignore[arg-type]


def test_the_account_names_every_outcome_the_throughput_and_the_percentiles() -> None:
    found = [*[Outcome(ANSWERED, 0, 0.1)] * 9, Outcome("queue_full", 0, 0.1)]
    text = describe(summarize(found, sent=11, seconds=3.0, started="", options={}))
    assert text.splitlines() == [
        "11 requests in 3.0 s",
        "  answered             9",
        "  queue_full           1",
        "  missing              1",
        "throughput  3.0 images/s",
        "latency ms  p50 100  p95 100  p99 100  max 100",
    ]


def test_requests_that_had_to_wait_for_a_connection_are_spoken_of() -> None:
    found = [Outcome(ANSWERED, 0, 1.0, late=0.4)]
    assert "400 ms before a connection was free" in describe(
        summarize(found, sent=1, seconds=1.0, started="", options={})
    )


def test_two_runs_stand_side_by_side_with_what_changed() -> None:
    text = compare(run(100, 10.0, 0.2, rate=None, connections=32), run(150, 10.0, 0.1, rate=None, connections=64))
    rows = {line[:22].strip(): line[22:].split() for line in text.splitlines()}
    assert rows["throughput, images/s"] == ["10.0", "15.0", "+50.0", "%"]
    assert rows["latency p99, ms"] == ["200.0", "100.0", "-50.0", "%"]
    assert rows["connections"] == ["32", "64"]
    assert "rate" not in rows, "what is alike need not be said"


def test_the_live_line_tells_how_far_it_is_how_fast_and_what_fails() -> None:
    live, running = LiveLine(Terminal()), load(total=100)
    running.outcomes += [Outcome(ANSWERED, 0, 0.05)] * 40 + [Outcome("queue_full", 0, 0)] * 10
    line = live.line(running, 1.0)
    assert line.startswith("█" * 12 + "░" * 12)
    assert "50/100  50/s  ms p50 50 p95 50 p99 50  10 of the last 50 not answered" in line


def test_its_rate_is_that_of_the_last_seconds_not_of_the_whole_run() -> None:
    live, running = LiveLine(Terminal()), load(duration=20.0)
    for second in range(1, 11):
        running.outcomes += [Outcome(ANSWERED, 0, 0.01)] * (100 if second <= 5 else 10)
        line = live.line(running, float(second))
    assert "550 in 10/20 s  10/s" in line


def test_each_showing_writes_over_the_last_and_the_end_leaves_the_line_behind() -> None:
    terminal = Terminal()
    live = LiveLine(terminal)
    live.show(load(total=10), 0.1)
    live.show(load(total=10), 0.2)
    live.end()
    written = terminal.getvalue()
    assert written.count("\r") == 2
    assert written.endswith("\x1b[K\n")


def test_elsewhere_than_on_a_terminal_nothing_is_written() -> None:
    file = io.StringIO()
    live = LiveLine(file)
    live.show(load(total=10), 0.1)
    live.end()
    assert file.getvalue() == ""


def test_the_code_of_an_error_reaches_the_terminal_as_words() -> None:
    kind = "\x1b[2J\r\n\u202e"
    summary = summarize([Outcome(kind, 0, 0.1)], sent=1, seconds=1.0, started="", options={kind: kind})
    other = summarize([Outcome(kind, 0, 0.1)], sent=1, seconds=1.0, started="", options={kind: "x"})
    for line in (*describe(summary).split("\n"), *compare(summary, other).split("\n")):
        assert line.isprintable(), line
