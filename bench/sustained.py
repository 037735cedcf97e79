"""An overload that lasts: `make sustained`. What is answered of it, second by second, and how long answers take.

An open loop at several times what the model can do, against MODEL=null made as slow as a real one, with the default
settings. Each row is one run of a service of its own. Goodput is what was answered in each window of ten seconds, as a
part of what the model can do; the first window, in which the queue fills, does not count. With --events what the
workers can do changes half-way: the windows before it count by what they could do before, and those from ten seconds
after it on by what they can do now. Exit 1 if an answer was wrong or missing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from bench.openloop import Reply, in_windows, send
from bench.overload import percentile
from imagequeue.warmup import LEAST_AUTO
from settings import Settings
from tests.support.load import null_label
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, binaries
from tests.support.system import System, eventually

# Different pictures are drawn before the load, so that the client has little to do.
PICTURES = 500
# Seconds.
WINDOW = 10.0


@dataclass(frozen=True)
class Event:
    """What happens half-way. workers: at the start. faults: more of them. factor: of the capacity, from then on."""

    name: str
    happens: Callable[[System], object] = lambda system: None
    workers: int = 1
    faults: str = ""
    factor: float = 1.0


EVENTS = (
    Event("one of two workers is killed", lambda system: system.workers[0].kill(), workers=2, factor=0.5),
    Event("a second worker joins", lambda system: system.worker(wait=False), factor=2.0),
    # Its batches are of sixteen images by then.
    Event("the model becomes three times slower", faults=" slower={calls}:3", factor=1 / 3),
)
NOTHING = Event("")


@dataclass(frozen=True)
class Row:
    """What came of one load. capacity: images a second, at its start. factor: of that, the load."""

    capacity: float
    factor: float
    seconds: float
    event: Event
    replies: list[Reply]
    wrong: int

    def goodputs(self) -> list[float]:
        """For each window that counts."""
        windows = in_windows(self.replies, self.seconds, WINDOW)
        half = int(self.seconds / WINDOW / 2)
        if self.event is NOTHING:
            return [answered / self.capacity for answered in windows[1:]]
        before = [answered / self.capacity for answered in windows[1:half]]
        return before + [answered / self.capacity / self.event.factor for answered in windows[half + 1 :]]

    def cells(self) -> dict[str, object]:
        goodputs = self.goodputs()
        codes = Counter(reply.code or "answered" for reply in self.replies)
        good = [reply.ms for reply in self.replies if reply.status == 200]
        refused = [reply.ms for reply in self.replies if reply.status == 503]
        accepted = len(good) + codes["deadline_exceeded"]
        return {
            "images/s": f"{self.capacity:g}",
            "load": f"{self.factor:g} times" + (f", {self.event.name}" if self.event.name else ""),
            "goodput, least": f"{min(goodputs):.2f}",
            "mean": f"{sum(goodputs) / len(goodputs):.2f}",
            "answered p50 s": f"{percentile(good, 50) / 1000:.2f}",
            "p99 s": f"{percentile(good, 99) / 1000:.2f}",
            "504 of accepted": f"{codes['deadline_exceeded']} of {accepted}",
            "refused p50 ms": f"{percentile(refused, 50):.0f}",
            "p99 ms": f"{percentile(refused, 99):.0f}",
            "Retry-After s": ", ".join(sorted({r.retry_after for r in self.replies if r.retry_after}, key=int)),
            "anything else": ", ".join(
                f"{code} {n}"
                for code, n in sorted(codes.items())
                if code not in ("answered", "deadline_exceeded", "queue_full")
            ),
        }


class Load:
    """What all rows share: the pictures, and the settings that are not the defaults."""

    def __init__(self, seconds: float, settings: Mapping[str, object]) -> None:
        self._seconds = seconds
        self._settings = {"WEB_PROCESSES": Settings().web_processes, **settings}
        self._images = [picture(number) for number in range(PICTURES)]
        self._labels = [null_label(image) for image in self._images]

    def row(self, capacity: float, factor: float, event: Event) -> Row:
        """On a service of its own."""
        server = RedisServer(next(iter(binaries().values()))).start()
        slow = event.workers / capacity
        faults = f"slow={slow}" + event.faults.format(calls=int(self._seconds / 2 / slow / LEAST_AUTO))
        directory = Path(tempfile.mkdtemp(prefix="imagequeue-sustained-"))
        system = System(server.url, directory, **{"TEST_FAULTS": faults, **self._settings})
        half_way = threading.Timer(self._seconds / 2, event.happens, (system,))
        try:
            system.start(workers=event.workers)
            port = urlsplit(system.url).port
            assert port is not None
            half_way.start()
            replies = send(port, lambda n: self._images[n % PICTURES], rate=capacity * factor, seconds=self._seconds)
            with server.client() as client:
                eventually(lambda: not client.llen("image_queue"), seconds=60)
        finally:
            half_way.cancel()
            system.stop()
            server.remove()
            shutil.rmtree(directory, ignore_errors=True)
        wrong = sum(reply.status == 200 and reply.label != self._labels[reply.number % PICTURES] for reply in replies)
        return Row(capacity, factor, self._seconds, event, replies, wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90, help="of each load (90)")
    parser.add_argument("--capacities", type=float, nargs="+", default=[25, 50, 250], help="images a second")
    parser.add_argument("--factors", type=float, nargs="+", default=[2, 5, 10], help="times the capacity")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults")
    parser.add_argument("--events", action="store_true", help="what the workers can do changes half-way")
    chosen = parser.parse_args()
    if not binaries():
        print("No redis-server: neither on the PATH nor in a package.", file=sys.stderr)
        return 2
    load = Load(chosen.seconds, dict(one.split("=", 1) for one in chosen.set))
    has_head, is_good = False, True
    for capacity, factor, event in product(chosen.capacities, chosen.factors, EVENTS if chosen.events else [NOTHING]):
        row = load.row(capacity, factor, event)
        cells = row.cells()
        if not has_head:
            print("| " + " | ".join(cells) + " |\n|" + "---|" * len(cells))
        has_head = True
        print("| " + " | ".join(map(str, cells.values())) + " |", flush=True)
        is_good = is_good and not row.wrong and all(reply.status for reply in row.replies)
        if row.wrong:
            print(f"{row.wrong} wrong answers", file=sys.stderr)
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
