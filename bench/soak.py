"""Ten minutes of disasters: `make soak`. Two web servers, four workers, a steady load; exit 1 if a promise breaks.

Every 10 s one half of the workers is ended, the halves in turn, twice by SIGKILL, then twice by SIGTERM. Every minute
Redis is restarted, by SIGKILL and SIGTERM in turn. One image in twenty is poison: most raise in the model, some kill
the process that computes them. The clients send a refused image (503) again, as they are asked to.

Redis writes an append-only file with `appendfsync always`: a job is on the disk before its acceptance is
reported, so the account is exact. With `everysec` a killed Redis may forget the last second, and what is lost then is
what its owner chose to lose.

A dead worker is started again by this program, and its batch is left to the lease: a supervisor that buries it
(`--workers N`) is faster, and would hide how long the lease takes. Told to end, by Ctrl-C or SIGTERM, it ends all that
it has started, at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import redis

from bench.crowd import PATIENCE, Crowd
from bench.gallery import open_gallery
from bench.tally import Publications, Tally, broken_promises, left_behind
from imagequeue import model as models
from imagequeue.job import id_of
from imagequeue.jobqueue import JobQueue
from imagequeue.lease import owner_name
from tests.support.redisserver import RedisServer, binaries
from tests.support.system import ROOT, Script, System, eventually

WEBS, WORKERS = 2, 4
LEASE = 5.0
RECOVERY = LEASE + 5.0
REDIS_EVERY = 60.0
QUEUE = "image_queue"


class Stop:
    """Ctrl-C and its like, heard between two steps only.

    An exception at any line would now and then leave a process behind that was started and is in no list yet, or
    break off the ending of the others.
    """

    def __init__(self) -> None:
        self._number = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = number

    def check(self) -> None:
        """Raises SystemExit when a signal has come."""
        if self._number:
            raise SystemExit(128 + self._number)


class Workers:
    """Four places, each filled again as soon as its process has ended, as a supervisor would."""

    def __init__(self, system: System, queue: JobQueue, tally: Tally, faults: str) -> None:
        self._system, self._queue, self._tally, self._faults = system, queue, tally, faults
        self._killed_at: dict[int, float] = {}
        self.exits: Counter[str] = Counter()
        self.places: list[Script] = []

    def start(self) -> None:
        for place in range(WORKERS):
            self.places.append(self._start(place))

    def _start(self, place: int) -> Script:
        log = self._system.directory / f"worker-{place}.log"
        return Script("run_model_server.py", log=log, **(self._system.settings | {"TEST_FAULTS": self._faults}))

    def end(self, places: Sequence[int], number: signal.Signals) -> None:
        for place in places:
            script = self.places[place]
            if script.is_running:
                self._killed_at[script.pid] = time.monotonic()
                script.signal(number)

    def look_after(self) -> None:
        for place, script in enumerate(self.places):
            if not script.is_running:
                self.exits[str(script.process.returncode)] += 1
                died_at = self._killed_at.pop(script.pid, time.monotonic())
                self._tally.worker_died(died_at, self._held_by(script.pid))
                self.places[place] = self._start(place)

    def _held_by(self, pid: int) -> list[str]:
        """What the dead process leaves in its processing lists; nothing if Redis is away at this moment, too."""
        client = self._queue.client
        try:
            ids: Any = client.zrange(self._queue.key("workers"), 0, -1)
            mine = [one.decode() for one in ids if one.startswith(f"{owner_name(pid)}:".encode())]
            documents: Any = [d for one in mine for d in client.lrange(self._queue.key(f"processing:{one}"), 0, -1)]
        except redis.RedisError:
            return []
        return [id_of(document) for document in documents]

    def stop(self) -> None:
        """Have all drain at once, each told only once: a second signal would end it with its batch in hand."""
        self.end(range(len(self.places)), signal.SIGTERM)
        for script in self.places:
            script.end()
            self.exits[str(script.process.returncode)] += 1

    def kill(self) -> None:
        for script in self.places:
            script.kill()


def play(chosen: argparse.Namespace, workers: Workers, server: RedisServer, check: Callable[[], None]) -> Counter[str]:
    """The disasters, until the time is over; returns how many there were of each kind. check: see Stop."""
    played: Counter[str] = Counter()
    started = time.monotonic()
    next_kill, next_restart = chosen.kill_every, min(REDIS_EVERY, chosen.seconds / 2)
    while (elapsed := time.monotonic() - started) < chosen.seconds:
        if elapsed >= next_kill:
            turn = played["rounds"]
            number = (signal.SIGKILL, signal.SIGTERM)[turn // 2 % 2]
            workers.end(range(turn % 2, WORKERS, 2), number)
            played["rounds"] += 1
            played[number.name] += WORKERS // 2
            next_kill += chosen.kill_every
        if elapsed >= next_restart:
            server.stop((signal.SIGKILL, signal.SIGTERM)[played["redis_restarts"] % 2])
            server.start()
            played["redis_restarts"] += 1
            next_restart += REDIS_EVERY
        workers.look_after()
        time.sleep(0.05)
        check()
    return played


def soak(chosen: argparse.Namespace, directory: Path, check: Callable[[], None]) -> dict[str, Any]:
    weights = os.environ.get("MODEL_WEIGHTS", "imagenet")
    # Kept where the workers will look: their starts are what the disasters cost most.
    graphs = directory / "graphs"
    model = models.load(
        chosen.model,
        weights=weights,
        labels="imagenet",
        size=(224, 224),
        preprocessing="auto",
        threads=2,
        graphs=graphs,
    )
    gallery = open_gallery(model)
    check()
    found = binaries()
    tally = Tally()
    with ExitStack() as started:
        # The logs stay where something broke; a hundred megabytes that can be made again do not.
        started.callback(shutil.rmtree, graphs, ignore_errors=True)
        server = RedisServer(next(iter(found.values())), appendonly="yes", appendfsync="always")
        started.callback(server.remove)
        server.start()
        system = System(
            server.url,
            directory,
            MODEL=chosen.model,
            MODEL_WEIGHTS=weights,
            MODEL_THREADS=1,
            MODEL_CACHE=graphs,
            LEASE_SECONDS=LEASE,
            # Of 300 kills in twenty minutes, two met the worker that held the same innocent image.
            MAX_CRASHES=3,
            REQUEST_TIMEOUT=60,
            LOG_LEVEL="warning",
            **({"KERAS_HOME": os.environ["KERAS_HOME"]} if "KERAS_HOME" in os.environ else {}),
        )
        started.callback(system.kill)
        faults = f"kill={gallery.killer.index} raise={gallery.raiser.index}"
        if chosen.model == "null":
            # As long as a real model takes, so that a worker that is killed has something in hand.
            faults += " slow=0.05"
        else:
            # On a processor a larger batch brings nothing, and takes a worker that starts as long to warm up.
            system.settings["MAX_BATCH_SIZE"] = "4"
        queue = JobQueue(server.client(), QUEUE)
        workers = Workers(system, queue, tally, faults)
        started.callback(workers.kill)
        workers.start()
        heard = Publications(server.client, QUEUE)
        for _ in range(WEBS):
            system.web(wait=False)

        def is_ready(url: str) -> bool:
            check()
            return system.is_ready(url)

        for url in system.urls:
            eventually(lambda url=url: is_ready(url), 180, f"{url}/readyz")
        crowd = Crowd(
            system.urls,
            gallery,
            tally,
            rate=chosen.rate,
            seconds=chosen.seconds,
            poison=chosen.poison,
            killing=chosen.killing,
        )
        played = play(chosen, workers, server, check)
        # What was sent in time is waited for, and the dead are still replaced meanwhile.
        waiting = threading.Thread(target=crowd.join, daemon=True)
        waiting.start()
        while waiting.is_alive():
            workers.look_after()
            waiting.join(timeout=0.05)
            check()
        end = time.monotonic() + RECOVERY + PATIENCE
        while any((left := left_behind(queue, tally.refused["redis_down"])).values()) and time.monotonic() < end:
            workers.look_after()
            time.sleep(0.2)
            check()
        web_deaths = sum(not web.is_running for web in system.webs)
        workers.stop()
        system.stop()
        twice = set(heard.stop()) | set(tally.answered_again)
    recoveries = tally.recoveries()
    return {
        "model": chosen.model,
        "seconds": chosen.seconds,
        "accepted": tally.accepted,
        "answered": tally.counts["answered"],
        "convicted": tally.counts["convicted"],
        "refused": dict(tally.refused),
        "lost": tally.counts["lost"],
        "answered_twice": len(twice),
        "wrong": tally.counts["wrong"],
        "details": tally.wrong[:50],
        "recovery": {
            "jobs": len(recoveries),
            "median": round(recoveries[len(recoveries) // 2], 2) if recoveries else 0.0,
            "max": round(recoveries[-1], 2) if recoveries else 0.0,
            "limit": RECOVERY,
        },
        "left": left,
        "disasters": dict(played),
        "exits": dict(workers.exits),
        "web_deaths": web_deaths,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--model", default="null", help="as MODEL; its weights are MODEL_WEIGHTS's (null)")
    parser.add_argument("--rate", type=float, help="images a second (45; with a real model 15)")
    parser.add_argument("--kill-every", type=float, default=10.0, help="seconds (10)")
    parser.add_argument("--poison", type=float, default=0.05, help="share of poison (0.05)")
    parser.add_argument("--killing", type=float, default=0.1, help="share of the poison that kills its worker (0.1)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "soak.json")
    chosen = parser.parse_args()
    chosen.rate = chosen.rate or (45.0 if chosen.model == "null" else 15.0)
    stop = Stop()
    directory = Path(tempfile.mkdtemp(prefix="imagequeue-soak-"))
    report = soak(chosen, directory, stop.check)
    report["broken"] = broken = broken_promises(report)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, value in report.items():
        print(f"{name:<15} {value}")
    if broken:
        print(f"\nBROKEN: {'; '.join(broken)}. The logs are in {directory}", file=sys.stderr)
        raise SystemExit(1)
    shutil.rmtree(directory, ignore_errors=True)
    print(f"\nEvery promise held. {chosen.output}")


if __name__ == "__main__":
    main()
