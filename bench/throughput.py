"""How fast the service is beside the bare model: `make bench`. One run, one machine, all figures side by side.

The bare model is measured first, in a process of its own; then the whole service (a private Redis, Gunicorn, a worker)
under closed loops of several sizes and open loops at a half, once and twice what it can do. Prints a table, and writes
JSON and a picture to bench/results/. The client runs on the same processors; ratios hold better than the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.meter import Cost, Meter, children
from imagequeue import cpus
from imagequeue.stress.summary import Summary
from tests.support.redisserver import RedisServer, binaries
from tests.support.system import ROOT, System

RESULTS = ROOT / "bench" / "results"
SAMPLES = ROOT / "samples"
LEVELS = (1, 8, 32, 128, 512)
SHARES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Level:
    """One load: its name, what came of it, what it cost."""

    name: str
    throughput: float
    p50: float
    p95: float
    p99: float
    refused: int
    failed: int
    cost: Cost


class Bench:
    """The service under measurement."""

    def __init__(self, directory: Path, images: Sequence[Path], seconds: float, settings: dict[str, str]) -> None:
        self._directory = directory
        self._images = images
        self._seconds = seconds
        self._redis = RedisServer(next(iter(binaries().values()))).start()
        self.system = System(self._redis.url, directory, LOG_LEVEL="info", **settings)

    def __enter__(self) -> Bench:
        self.system.start()
        assert self._redis.process is not None
        webs = {f"web {i}": pid for i, pid in enumerate(children(self.system.webs[0].pid), start=1)}
        processes = {**webs, "worker": self.system.workers[0].pid, "redis": self._redis.process.pid}
        self._meter = Meter(self.system, self._redis.client(), processes)
        self.load("warm", "--connections", "8")
        return self

    def __exit__(self, *exception: object) -> None:
        self.system.stop()
        self._redis.remove()

    @property
    def started_with(self) -> dict[str, str]:
        """What the worker said of its model: runtime, precision, batch."""
        return self.system.workers[0].lines("model_ready")[0]

    def load(self, name: str, *options: str) -> Level:
        before = self._meter.read()
        file = self._directory / "load.json"
        command = [sys.executable, "stress_test.py", "--url", self.system.url, "--duration", str(self._seconds)]
        command += ["--json", str(file), "--allow-refusals", *options, *map(str, self._images)]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        summary = Summary.read(file)
        refusals = {kind: n for kind, n in summary.kinds.items() if kind in ("queue_full", "server_busy")}
        failed = summary.sent - summary.answered - sum(refusals.values())
        return Level(
            name,
            round(summary.throughput, 1),
            *(round(summary.latency.get(mark, 0.0), 1) for mark in ("p50", "p95", "p99")),
            sum(refusals.values()),
            failed,
            Cost.between(before, self._meter.read(), summary.answered),
        )


def bare_model(settings: dict[str, str], seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.bare", "--seconds", str(seconds / 2)]
    for option, name in (("--runtime", "RUNTIME"), ("--precision", "PRECISION"), ("--weights", "MODEL_WEIGHTS")):
        command += [option, settings[name]] if name in settings else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(levels: Sequence[Level], best: float) -> str:
    head = f"{'load':<22}{'images/s':>9}{'of bare':>8}{'p50 ms':>9}{'p95':>9}{'p99':>9}{'refused':>9}{'failed':>7}"
    rows = [
        f"{x.name:<22}{x.throughput:>9.1f}{(f'{x.throughput / best:.2f}' if best else '-'):>8}"
        f"{x.p50:>9.1f}{x.p95:>9.1f}{x.p99:>9.1f}{x.refused:>9}{x.failed:>7}"
        for x in levels
    ]
    costs = [
        f"{'for each image':<22}" + "".join(f"{n + ' cpu':>12}" for n in levels[0].cost.cpu_ms) + "  redis commands"
    ]
    costs += [
        f"{x.name:<22}" + "".join(f"{ms:>9.2f} ms" for ms in x.cost.cpu_ms.values()) + f"{x.cost.commands:>12.2f}"
        for x in levels
    ]
    stages = [f"{'mean ms by stage':<22}" + "".join(f"{stage:>11}" for stage in levels[0].cost.stages_ms)]
    stages += [f"{x.name:<22}" + "".join(f"{ms:>11.1f}" for ms in x.cost.stages_ms.values()) for x in levels]
    memory = "resident MB            " + "  ".join(f"{n} {mb:.0f}" for n, mb in levels[-1].cost.resident_mb.items())
    return "\n".join([head, *rows, "", *costs, "", *stages, "", memory])


def draw(levels: Sequence[Level], best: float, title: str, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    closed = [level for level in levels if level.name.startswith("closed")]
    names = [level.name.removeprefix("closed, ") for level in closed]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    left.bar(names, [level.throughput for level in closed], color="#3b6ea5")
    if best:
        left.axhline(best, color="#c0504d", linestyle="--", label=f"bare model {best:.1f}")
        left.legend()
    left.set_ylabel("images/s")
    for mark, color in (("p50", "#3b6ea5"), ("p99", "#c0504d")):
        right.plot(names, [getattr(level, mark) for level in closed], marker="o", color=color, label=mark)
    right.set_yscale("log")
    right.set_ylabel("latency, ms")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("connections")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path, help="what is sent, in turn; the samples if none is named")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load (10)")
    parser.add_argument("--model", default="resnet50", help="or null: what the service itself costs")
    parser.add_argument("--connections", type=int, nargs="+", default=list(LEVELS))
    arguments = parser.parse_args()
    images = [image.resolve() for image in arguments.images] or sorted(SAMPLES.glob("*.png"))
    chosen = ("RUNTIME", "PRECISION", "MODEL_WEIGHTS", "MAX_BATCH_SIZE", "CALIBRATION_IMAGES", "RESULT_CACHE_SECONDS")
    settings = {name: os.environ[name] for name in chosen if os.environ.get(name)}
    # Weights do not change what a forward pass costs.
    settings.setdefault("MODEL_WEIGHTS", "random")
    bare = bare_model(settings, arguments.seconds) if arguments.model != "null" else {}
    best = max(bare.get("rates", {}).values(), default=0.0)
    service = {"MODEL": arguments.model, "WEB_PROCESSES": str(cpus.available()), **settings}
    with (
        tempfile.TemporaryDirectory(prefix="imagequeue-bench-") as directory,
        Bench(
            Path(directory),
            images,
            arguments.seconds,
            service,
        ) as bench,
    ):
        levels = [bench.load(f"closed, {n}", "--connections", str(n)) for n in arguments.connections]
        capacity = max(level.throughput for level in levels)
        levels += [
            bench.load(f"open, {share:g} x capacity", "--rate", f"{share * capacity:.2f}", "--connections", "600")
            for share in SHARES
        ]
        ready = bench.started_with
    title = " ".join(f"{key} {ready[key]}" for key in ("model", "runtime", "precision", "threads", "batch"))
    print(title)
    if bare:
        print(f"bare model ({bare['runtime']}, {bare['precision']}), images/s by batch: {bare['rates']}")
    print(table(levels, best))
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = f"throughput-{arguments.model}-{ready['runtime']}-{ready['precision']}"
    record = {"service": ready, "bare": bare, "levels": [asdict(level) for level in levels]}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    draw(levels, best, title, RESULTS / f"{name}.png")
    print(f"\n{RESULTS.relative_to(ROOT) / name}.json and .png")


if __name__ == "__main__":
    main()
