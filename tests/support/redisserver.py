"""A real redis-server of the tests' own: a free port, an empty directory, ended by its id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from scripts.local_redis import binaries, free_port

__all__ = ["RedisServer", "binaries", "free_port"]


class RedisServer:
    """One server; `stop` and `start` again keep its port, and its data if it was started with `appendonly`."""

    def __init__(self, binary: str, **options: str) -> None:
        self.binary = binary
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="imagequeue-redis-"))
        self.options = {"save": "", "appendonly": "no"} | options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, protocol=2, socket_timeout=5)

    def start(self, *, wait: bool = True) -> RedisServer:
        options = [part for name, value in self.options.items() for part in (f"--{name}", value)]
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        with open(self.directory / "redis.log", "ab") as log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
        if wait:
            self.wait_until_up()
        return self

    def wait_until_up(self, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    assert self.process is not None
                    if self.process.poll() is not None or time.monotonic() > end:
                        raise AssertionError((self.directory / "redis.log").read_text()) from None
                    time.sleep(0.01)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            # A server that a test has stopped cannot hear any other signal.
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(timeout=20)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
