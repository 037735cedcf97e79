"""A worker's own port, METRICS_PORT, which is meant for Prometheus alone."""

from __future__ import annotations

import socket
import time

from bench.attacks.attack import Attack
from bench.attacks.memory import status_of
from bench.attacks.scene import Scene
from bench.attacks.wire import ATTACKERS, ask

CONNECTIONS = 1500
# Between two of them: what listens there takes in one after the other.
PAUSE = 0.002
MOST_THREADS, MOST_MB = 100, 50.0


def metrics(scene: Scene) -> None:
    """Connections to it that ask for half of something, and stay."""
    address, worker = scene.worker_metrics, scene.system.workers[0]
    threads, memory = status_of(worker.pid, "Threads"), status_of(worker.pid, "VmRSS") / 1000
    connections: list[socket.socket] = []
    try:
        while len(connections) < CONNECTIONS and not scene.rest(PAUSE):
            try:
                place = len(connections) % len(ATTACKERS)
                connections.append(address.connect(source=ATTACKERS[place], timeout=2.0))
                connections[-1].sendall(b"GET /metr")
                scene.count("connected")
            except OSError as error:
                scene.count(type(error).__name__)
        scene.rest()
        more = status_of(worker.pid, "Threads") - threads
        grown = status_of(worker.pid, "VmRSS") / 1000 - memory
        scene.note(f"{len(connections)} connections to a worker: {more} more threads, {grown:.0f} MB more")
        if more > MOST_THREADS:
            scene.fault(f"the worker had {more} more threads, wanted {MOST_THREADS}")
        if grown > MOST_MB:
            scene.fault(f"the worker had {grown:.0f} MB more, wanted {MOST_MB:.0f}")
    finally:
        for connection in connections:
            connection.close()
    end = time.monotonic() + 5.0
    while ask(address, address.head("GET", "/metrics", "Connection: close"), timeout=2.0).status != 200:
        if time.monotonic() > end:
            scene.fault("the worker's metrics are not there afterwards")
            break
        time.sleep(0.1)


ATTACKS = (
    Attack(
        "metrics-port",
        "idle connections to a worker's METRICS_PORT",
        metrics,
        seconds=(6.0, 20.0),
        is_for_proxies=False,
    ),
)
