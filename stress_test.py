"""Many requests over a few kept-alive connections, every one of them accounted for.

Prints how many ended how, the throughput, and the latency's percentiles. Exit 1 if any answer is missing, is wrong
in shape, or is an error; refusals (503) too, unless --allow-refusals says that they are expected.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import logutil
from imagequeue.client import DEFAULT_URL, Client
from imagequeue.errors import ImageQueueError, Unavailable
from settings import load_or_exit

SAMPLES = Path(__file__).with_name("samples")
ANSWERED = "answered"


@dataclass(frozen=True)
class Outcome:
    """What became of one request: `answered`, or the code of its error; seconds from sending to the last byte."""

    kind: str
    seconds: float
    is_refusal: bool = False


class Load:
    """`total` requests over `connections` threads, each with a connection of its own."""

    def __init__(self, url: str, images: Sequence[bytes], *, total: int, connections: int, api_key: str = "") -> None:
        self.outcomes: list[Outcome] = []
        self.total = total
        self._url = url
        self._images = images
        self._api_key = api_key
        self._connections = min(connections, total)
        self._numbers: Iterator[int] = iter(range(total))
        self._lock = threading.Lock()

    def run(self, progress: Progress) -> float:
        """Send all of them; returns the seconds it took. Every thread is joined."""
        threads = [threading.Thread(target=self._send_until_done) for _ in range(self._connections)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                progress.show(len(self.outcomes), time.perf_counter() - started)
                thread.join(timeout=0.1)
        seconds = time.perf_counter() - started
        progress.show(len(self.outcomes), seconds)
        progress.end()
        return seconds

    def _send_until_done(self) -> None:
        # A stress test wants to see each refusal, so nothing is retried.
        with Client(self._url, retries=0, api_key=self._api_key) as client:
            while True:
                with self._lock:
                    number = next(self._numbers, None)
                if number is None:
                    return
                outcome = self._send(client, number)
                with self._lock:
                    self.outcomes.append(outcome)

    def _send(self, client: Client, number: int) -> Outcome:
        started = time.perf_counter()
        try:
            answer = client.predict(self._images[number % len(self._images)])
        except ImageQueueError as error:
            logutil.log("failed", number=number, code=error.code, reason=error.message)
            return Outcome(error.code, time.perf_counter() - started, type(error) is Unavailable)
        except Exception as error:
            # A thread that ends on a surprise would lose the account of its other requests too.
            logutil.fail("broke", number=number, reason=repr(error))
            return Outcome(type(error).__name__, time.perf_counter() - started)
        seconds = time.perf_counter() - started
        logutil.log("answered", job=answer.id, number=number, ms=round(seconds * 1000, 1))
        return Outcome(ANSWERED, seconds)


class Progress:
    """One line on a terminal, nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._is_shown = sys.stderr.isatty()

    def show(self, done: int, seconds: float) -> None:
        if self._is_shown:
            filled = 30 * done // self._total
            rate = done / seconds if seconds > 0 else 0.0
            bar = "█" * filled + "░" * (30 - filled)
            print(f"\r{bar} {done}/{self._total}  {rate:6.1f}/s ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print(file=sys.stderr)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the ordered values do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def report(outcomes: Sequence[Outcome], total: int, seconds: float) -> str:
    kinds = Counter(outcome.kind for outcome in outcomes)
    kinds["missing"] = total - len(outcomes)
    lines = [f"{total} requests in {seconds:.1f} s"]
    lines += [f"  {kind:<20} {n}" for kind, n in kinds.most_common() if n]
    answered = sorted(outcome.seconds for outcome in outcomes if outcome.kind == ANSWERED)
    if answered:
        marks = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        latency = "  ".join(f"{name} {percentile(answered, share) * 1000:.0f}" for name, share in marks.items())
        lines += [f"throughput  {len(answered) / seconds:.1f} images/s", f"latency ms  {latency}"]
    return "\n".join(lines)


def read_images(files: Sequence[Path]) -> list[bytes]:
    try:
        return [file.read_bytes() for file in files]
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="images, in turn; the samples if none")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"the server's address ({DEFAULT_URL})")
    parser.add_argument("--requests", type=int, default=500, help="how many in all (500)")
    parser.add_argument("--connections", type=int, default=32, help="how many at a time (32)")
    parser.add_argument("--allow-refusals", action="store_true", help="a 503 does not make the exit code 1")
    parser.add_argument("--api-key", metavar="KEY", help="rather in IMAGEQUEUE_API_KEY: others see a command line")
    arguments = parser.parse_args()
    if arguments.requests < 1 or arguments.connections < 1:
        parser.error("--requests and --connections: at least 1")
    settings = load_or_exit()
    logutil.configure(
        server=settings.server_name,
        level=settings.log_level,
        format=settings.log_format,
        directory=settings.log_dir,
        terminal_level="error",
    )
    images = read_images(arguments.files or sorted(SAMPLES.glob("*.png")))
    load = Load(
        arguments.url,
        images,
        total=arguments.requests,
        connections=arguments.connections,
        api_key=arguments.api_key or settings.imagequeue_api_key,
    )
    seconds = load.run(Progress(arguments.requests))
    print(report(load.outcomes, load.total, seconds))
    good = sum(o.kind == ANSWERED or (arguments.allow_refusals and o.is_refusal) for o in load.outcomes)
    raise SystemExit(0 if good == load.total else 1)


if __name__ == "__main__":
    main()
