"""A private service for one attack: a Redis, two web processes, a worker with the null model, and maybe a proxy."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import redis

from bench.attacks.attack import Attack
from bench.attacks.memory import MemoryWatch, children
from bench.attacks.wire import Address, Reply, ask
from tests.support.frontproxy import HOST, FrontProxy
from tests.support.redisserver import RedisServer, binaries, free_port
from tests.support.system import System, eventually

WEB_PROCESSES = 2
# More than that of all its processes together is the end of an attack; of this machine's memory at most half.
MOST_MB = 6000.0
# Connections of an attack through a proxy: what nginx lets in from eight addresses, 32 of each.
MOST_THROUGH_PROXY = 256


class Scene:
    """What an attack sees. address: where it strikes. seconds: how long. held: connections served to the end."""

    def __init__(self, attack: Attack, directory: Path, *, seconds: float, through: str = "") -> None:
        """through: nginx, caddy, or empty. Whatever was started is ended by `end`, after an error here, too."""
        least, most = attack.seconds
        self.seconds = min(max(seconds, least), most)
        self.through = through
        self.replies: Counter[str] = Counter()
        self.slowest = 0.0
        self.held = 0
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        found = binaries()
        self._redis = RedisServer(found.get("system") or found["embedded"], **attack.redis)
        self.worker_metrics = Address(free_port())
        settings: dict[str, object] = {"WEB_PROCESSES": WEB_PROCESSES, "METRICS_PORT": self.worker_metrics.port}
        # No balancer has to notice that it ends.
        settings["DRAIN_SECONDS"] = 0
        settings |= attack.settings
        if through:
            settings |= {"TRUSTED_PROXIES": 1, "ALLOWED_HOSTS": HOST}
        self.system = System(self._redis.url, directory, **settings)
        self._proxy: FrontProxy | None = None
        try:
            self._redis.start()
            self.system.start()
            self.direct = Address(int(self.system.url.rpartition(":")[2]))
            self.address = self.direct
            if through:
                self._proxy = FrontProxy(through, upstream=self.direct.port, directory=directory / through)
                self.address = Address(self._proxy.port, HOST, is_tls=True)
            # The first of them is ready, maybe before the other is there.
            eventually(lambda: len(self.web_processes()) >= WEB_PROCESSES, what=self.system.webs[0].output[-2000:])
            self._webs = self.web_processes()
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
            self.memory = MemoryWatch(
                self.system.webs[0].pid, limit_mb=min(MOST_MB, memory / 2), on_limit=self._stop_for_memory
            )
        except BaseException:
            self._end_processes()
            raise

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def rest(self, seconds: float | None = None) -> bool:
        """Wait so long, without a number until the attack is over; whether it is over."""
        return self._over.wait(seconds)

    def begin(self) -> None:
        """The clock of the attack starts."""
        timer = threading.Timer(self.seconds, self._over.set)
        timer.daemon = True
        timer.start()

    def crowd(self, number: int) -> int:
        """So many connections, or as many as come through the proxy."""
        return min(number, MOST_THROUGH_PROXY) if self.through else number

    def count(self, outcome: str, seconds: float = 0.0) -> None:
        """An attacker was answered so, after so long."""
        with self._lock:
            self.replies[outcome] += 1
            self.slowest = max(self.slowest, seconds)

    def fault(self, reason: str) -> None:
        """Something is not as wanted, whatever the others saw; each reason counts once."""
        with self._lock:
            if reason not in self.faults:
                self.faults.append(reason)

    def note(self, remark: str) -> None:
        with self._lock:
            self.notes.append(remark)

    def ask(self, method: str, target: str, *fields: str, body: bytes = b"", timeout: float = 10.0) -> Reply:
        """One request of an attacker, counted."""
        made = self.address.post(target, body, *fields) if body else self.address.head(method, target, *fields)
        reply = ask(self.address, made, timeout=timeout)
        self.count(reply.outcome, reply.seconds)
        return reply

    def redis_client(self) -> redis.Redis:
        return self._redis.client()

    def log_bytes(self) -> int:
        """What the web server has logged so far."""
        return self.system.webs[0].log.stat().st_size

    def web_processes(self) -> set[int]:
        return set(children(self.system.webs[0].pid))

    def inspect(self) -> None:
        """Look for what no attack may bring about: a process that ended, an unexpected error, a wrong readiness."""
        if self._webs - self.web_processes() or not self.system.webs[0].is_running:
            self.fault("a web process ended")
        if not self.system.workers[0].is_running:
            self.fault("the worker ended")
        log = self.system.webs[0].output
        for sign in ("Traceback", "WORKER TIMEOUT", "CRITICAL"):
            if sign in log:
                self.fault(f"the log has a {sign}")
        unexpected = self.system.webs[0].lines("unexpected")
        if unexpected:
            self.fault(f"{len(unexpected)} unexpected errors in the log")
        if not self.system.is_ready():
            self.fault("not ready afterwards")

    def end(self) -> None:
        self._over.set()
        self.memory.end()
        self._end_processes()

    def _end_processes(self) -> None:
        if self._proxy is not None:
            self._proxy.stop()
        self.system.stop()
        self._redis.remove()

    def _stop_for_memory(self) -> None:
        self.fault("stopped: the service takes more memory than this machine can spare")
        self._over.set()


def wait_until(moment: float) -> None:
    """moment: of time.monotonic()."""
    time.sleep(max(0.0, moment - time.monotonic()))
