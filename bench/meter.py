"""What a load costs, read from outside: CPU and memory of each process, commands to Redis, stages of a request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.scrape import Scrape, scrape
from tests.support.system import System

STAGES = ("decode", "enqueue", "queue", "inference", "wake", "total")
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """One look. cpu: seconds by process; resident: MB; commands: what clients and scripts have called, by name."""

    cpu: Mapping[str, float]
    resident: Mapping[str, float]
    clients_commands: int
    metrics: Scrape


class Meter:
    """Reads `processes` (name → pid), and the service's own counters."""

    def __init__(self, system: System, client: redis.Redis, processes: Mapping[str, int]) -> None:
        self._system = system
        self._client = client
        self._processes = processes

    def read(self) -> Reading:
        stats = self._client.info("commandstats")
        # A transaction is one round trip.
        sent = ("cmdstat_evalsha", "cmdstat_exec", "cmdstat_blmove", "cmdstat_mget", "cmdstat_unlink", "cmdstat_ping")
        return Reading(
            cpu={name: cpu_seconds(pid) for name, pid in self._processes.items()},
            resident={name: _resident(pid) for name, pid in self._processes.items()},
            # Commands inside scripts are counted by Redis, too; these are only ever sent.
            clients_commands=sum(int(stats[name]["calls"]) for name in sent if name in stats),
            metrics=scrape(f"{self._system.url}/metrics"),
        )


@dataclass(frozen=True)
class Cost:
    """The difference of two readings, for each of `images`: CPU ms by process, Redis commands, mean ms by stage."""

    cpu_ms: Mapping[str, float]
    commands: float
    stages_ms: Mapping[str, float]
    resident_mb: Mapping[str, float]

    @classmethod
    def between(cls, before: Reading, after: Reading, images: int) -> Cost:
        def mean(stage: str) -> float:
            def grown(kind: str) -> float:
                name = f"stage_seconds_{kind}"
                return after.metrics.value(name, stage=stage) - before.metrics.value(name, stage=stage)

            count = grown("count")
            return round(grown("sum") / count * 1000, 2) if count else 0.0

        each = max(1, images)
        return cls(
            cpu_ms={n: round((after.cpu[n] - before.cpu[n]) * 1000 / each, 2) for n in after.cpu},
            commands=round((after.clients_commands - before.clients_commands) / each, 2),
            stages_ms={stage: mean(stage) for stage in STAGES},
            resident_mb=after.resident,
        )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    """What the process has taken of the processors so far, with all that it has started: of a web process the decoders,
    those that have ended too.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    taken = sum(map(int, fields[11:15])) / _TICK
    for child in children(pid):
        # One that ends in this moment counts with its parent the next time.
        with suppress(OSError):
            taken += cpu_seconds(child)
    return taken


def _resident(pid: int) -> float:
    return round(int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1000, 1)
