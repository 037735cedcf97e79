"""More clients than may wait, all at once: `make overload`. How fast the excess is told so, and what probes notice.

A table with a row for ten times MAX_QUEUE_LENGTH clients and, as its peer, one for five times, measured in turn in
one run on one system (MODEL=null made as slow as a small model). Every client has its connection already and sends one
image at the same moment; a probe in a process of its own asks /livez all the while. All of it shares the processors.
Exit 1 if a client was not answered.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from bench.meter import children, cpu_seconds
from settings import Settings
from tests.support.burst import Reply, burst
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, binaries
from tests.support.system import System, eventually

# Between two questions of the probe: an orchestrator asks once in some seconds, this one never misses a bad moment.
PROBE_PAUSE = 0.01
AIM_REFUSED_MS, AIM_LIVEZ_MS = 100, 200


@dataclass
class Load:
    """What came of all bursts of one size. Milliseconds from the request's last byte to the answer's."""

    clients: int
    accepted_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    retry_after: set[int] = field(default_factory=set)
    livez_ms: list[float] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    seconds: float = 0.0
    # Of the processor: what the web processes took of it while the bursts lasted, and what their clients did.
    server_seconds: float = 0.0
    client_seconds: float = 0.0

    def add(self, reply: Reply) -> None:
        if reply.status == 200:
            self.accepted_ms.append(reply.ms)
        elif reply.status == 503 and reply.header("Retry-After").isdecimal():
            self.refused_ms.append(reply.ms)
            self.retry_after.add(int(reply.header("Retry-After")))
        else:
            self.other.append(reply.error or repr(reply.content[:200]))

    def row(self) -> dict[str, object]:
        requests = len(self.accepted_ms) + len(self.refused_ms) + len(self.other)
        return {
            "clients": self.clients,
            "answered": len(self.accepted_ms),
            "refused": len(self.refused_ms),
            "refused p50 ms": round(percentile(self.refused_ms, 50), 1),
            "refused p99 ms": round(percentile(self.refused_ms, 99), 1),
            "livez p50 ms": round(percentile(self.livez_ms, 50), 1),
            "livez max ms": round(max(self.livez_ms, default=0.0), 1),
            "answered/s": round(len(self.accepted_ms) / self.seconds, 1),
            "Retry-After s": ", ".join(map(str, sorted(self.retry_after))) or "-",
            "CPU ms a request": round(self.server_seconds * 1000 / requests, 2),
            "the client's": round(self.client_seconds * 1000 / requests, 2),
            "anything else": len(self.other),
        }


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def probe(port: int, pipe: Connection) -> None:
    """Says when it is ready, asks /livez until the pipe says stop, and sends the milliseconds of each answer back."""
    found: list[float] = []
    pipe.send("ready")
    while not pipe.poll(PROBE_PAUSE):
        started = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        found.append((time.perf_counter() - started) * 1000)
    pipe.send(found)


def request_for(image: bytes) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(image)
    ) + image


def measure(system: System, loads: Sequence[Load], rounds: int) -> None:
    """Bursts of each size in turn; a size's bursts differ in nothing but what the machine does meanwhile."""
    port = urlsplit(system.url).port
    assert port is not None
    context = multiprocessing.get_context("spawn")
    servers = children(system.webs[0].pid)
    for number in range(rounds):
        for place, load in enumerate(loads):
            first = (number * len(loads) + place) * 100_000
            requests = [request_for(picture(first + n)) for n in range(load.clients)]
            ours, theirs = context.Pipe()
            prober = context.Process(target=probe, args=(port, theirs), daemon=True)
            prober.start()
            ours.recv()
            server_began, client_began, began = sum(map(cpu_seconds, servers)), time.process_time(), time.perf_counter()
            replies = burst(port, requests)
            load.seconds += time.perf_counter() - began
            load.client_seconds += time.process_time() - client_began
            load.server_seconds += sum(map(cpu_seconds, servers)) - server_began
            ours.send("stop")
            load.livez_ms += ours.recv()
            prober.join()
            for reply in replies:
                load.add(reply)


def print_table(loads: Sequence[Load]) -> None:
    rows = [load.row() for load in loads]
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queue", type=int, default=32, metavar="N", help="MAX_QUEUE_LENGTH (32)")
    parser.add_argument("--slow", type=float, default=0.02, metavar="S", help="seconds the model takes for one (0.02)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="bursts of each size (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    chosen = parser.parse_args()
    found = binaries()
    if not found:
        print("No redis-server: neither on the PATH nor in a package.", file=sys.stderr)
        return 2
    directory = Path(tempfile.mkdtemp(prefix="imagequeue-overload-"))
    server = RedisServer(next(iter(found.values()))).start()
    processes = Settings().web_processes
    system = System(
        server.url,
        directory,
        MAX_QUEUE_LENGTH=chosen.queue,
        TEST_FAULTS=f"slow={chosen.slow}",
        WEB_PROCESSES=processes,
    )
    loads = [Load(5 * chosen.queue), Load(10 * chosen.queue)]
    try:
        system.start()
        # Not measured: the first burst opens every connection of the pool and fills the thread pool.
        measure(system, [Load(chosen.queue)], 1)
        measure(system, loads, chosen.rounds)
        with server.client() as client:
            eventually(lambda: not client.llen("image_queue"))
    finally:
        system.stop()
        server.remove()
        shutil.rmtree(directory, ignore_errors=True)
    print(
        f"MAX_QUEUE_LENGTH={chosen.queue}, a model of {chosen.slow} s an image, {chosen.rounds} bursts of each size, "
        f"{processes} web processes\n"
    )
    print_table(loads)
    print(f"\nThe aim: refused in {AIM_REFUSED_MS} ms (p99), /livez in {AIM_LIVEZ_MS} ms, all others answered.")
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps([load.row() for load in loads], indent=2) + "\n")
    broken = [one for load in loads for one in load.other]
    for one in broken[:10]:
        print(one, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
