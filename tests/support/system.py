"""Real web servers and workers, as a user starts them, ended by their ids."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from tests.support.redisserver import free_port

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("IMAGEQUEUE_SHARED", ROOT.parent / "shared"))
WEIGHTS = SHARED / "weights" / "resnet50_imagenet_pruned.weights.h5"
IMAGES = SHARED / "images"


def eventually(condition: Callable[[], object], seconds: float = 20, what: str = "") -> None:
    """Wait until the condition holds; the wait is for an event elsewhere, looked for often and given up loudly."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Script:
    """One running script of the project, its standard output and error kept in a file."""

    def __init__(self, name: str, *arguments: str, log: Path, has_own_group: bool = False, **settings: object) -> None:
        """has_own_group: so that `signal_all` reaches it and its children, and nobody else."""
        self.name = name
        self.log = log
        environment = {k: v for k, v in os.environ.items() if k.upper() not in _SETTINGS}
        # No test meets what another, or the user, has kept.
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1", "MODEL_CACHE": "none"}
        environment |= {k: str(v) for k, v in settings.items()}
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, name if name.startswith("-") else str(ROOT / name), *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=has_own_group,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def lines(self, action: str) -> list[dict[str, str]]:
        """The fields of every log line with this action."""
        return [
            dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', rest))
            for found, rest in re.findall(r"^\S+Z \S+ \S+ [A-Z]+ (\S+)(.*)$", self.output, re.MULTILINE)
            if found == action
        ]

    def wait_for(self, action: str, seconds: float = 60) -> None:
        def logged_or_ended() -> bool:
            return bool(self.lines(action)) or not self.is_running

        eventually(logged_or_ended, seconds, f"{action!r} in the log of {self.name}:\n{self.output[-2000:]}")
        assert self.lines(action), f"{self.name} ended with {self.process.poll()}:\n{self.output[-4000:]}"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def signal_all(self, number: int) -> None:
        """To the group, as a terminal and honcho do."""
        os.killpg(self.pid, number)

    def wait(self, seconds: float = 30) -> int:
        return self.process.wait(timeout=seconds)

    def children(self) -> list[int]:
        """The process ids of Gunicorn's children, or of a fleet's workers."""
        try:
            found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in found.split()]

    def kill(self) -> None:
        if self.is_running:
            # Stopped, it starts no other while its children are ended.
            self.signal(signal.SIGSTOP)
            for pid in self.children():
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.wait()

    def stop(self) -> None:
        self.tell_to_stop()
        self.end()

    def tell_to_stop(self) -> None:
        """Once: a second signal would end a worker with its batch in hand."""
        if self.is_running:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)

    def end(self) -> None:
        """Wait for one that was told to stop, and kill it if it does not."""
        try:
            self.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


class System:
    """Web servers and workers over one Redis; `settings` hold for all that are started."""

    def __init__(self, redis_url: str, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.settings = {
            "REDIS_URL": redis_url,
            "MODEL": "null",
            "WEB_PROCESSES": 1,
            "KERAS_HOME": SHARED / "keras",
        } | settings
        self.webs: list[Script] = []
        self.workers: list[Script] = []
        self.urls: list[str] = []

    @property
    def url(self) -> str:
        return self.urls[0]

    def worker(self, *arguments: str, wait: bool = True, **settings: object) -> Script:
        log = self.directory / f"worker-{len(self.workers)}.log"
        script = Script("run_model_server.py", *arguments, log=log, **(self.settings | settings))
        self.workers.append(script)
        if wait:
            script.wait_for("joined")
        return script

    def web(self, *, wait: bool = True, has_own_group: bool = False, **settings: object) -> Script:
        port = free_port()
        log = self.directory / f"web-{len(self.webs)}.log"
        given = {"WEB_PORT": port} | self.settings | settings
        script = Script("run_web_server.py", log=log, has_own_group=has_own_group, **given)
        self.webs.append(script)
        self.urls.append(f"http://127.0.0.1:{port}")
        if wait:
            script.wait_for("listening")
            eventually(lambda: self.is_live(self.urls[-1]), what="/livez")
        return script

    def web_with(self, statement: str) -> Script:
        """A web server in which a constant of the package has another value, as `imagequeue.web.x.NAME = 1` says."""
        module = statement.partition("=")[0].strip().rpartition(".")[0]
        code = f"import runpy, {module}; {statement}; runpy.run_path('run_web_server.py', run_name='__main__')"
        port = free_port()
        log = self.directory / f"web-{len(self.webs)}.log"
        self.webs.append(Script("-c", code, log=log, **({"WEB_PORT": port} | self.settings)))
        self.urls.append(f"http://127.0.0.1:{port}")
        eventually(lambda: self.is_ready(self.urls[-1]), what=f"/readyz\n{self.webs[-1].output[-2000:]}")
        return self.webs[-1]

    def gunicorn(self, *options: str) -> Script:
        """The web server as `gunicorn run_web_server:app` starts it, with Gunicorn's own options."""
        port = free_port()
        script = Script(
            "-m",
            "gunicorn",
            *("--no-control-socket", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"),
            *(*options, "run_web_server:app"),
            log=self.directory / f"web-{len(self.webs)}.log",
            **self.settings,
        )
        self.webs.append(script)
        self.urls.append(f"http://127.0.0.1:{port}")
        eventually(lambda: self.is_ready(self.urls[-1]), what=f"/readyz\n{script.output[-2000:]}")
        return script

    def start(self, *, webs: int = 1, workers: int = 1) -> System:
        """All at once, and wait until every web server is ready."""
        for _ in range(workers):
            self.worker(wait=False)
        for _ in range(webs):
            self.web(wait=False)
        for script in self.workers:
            script.wait_for("joined", 100)
        for url in self.urls:
            eventually(lambda url=url: self.is_ready(url), what=f"{url}/readyz")
        return self

    @staticmethod
    def is_live(url: str) -> bool:
        try:
            return requests.get(f"{url}/livez", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def is_ready(self, url: str | None = None) -> bool:
        try:
            return requests.get(f"{url or self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def why_not_ready(self, url: str | None = None) -> str:
        """The reason that /readyz gives; empty if it is ready, or does not answer."""
        try:
            return str(requests.get(f"{url or self.url}/readyz", timeout=10).json().get("reason", ""))
        except requests.RequestException:
            return ""

    def predict(self, image: bytes, timeout: float = 60, **headers: str) -> requests.Response:
        return requests.post(f"{self.url}/predict", files={"image": image}, headers=headers, timeout=timeout)

    def stop(self) -> None:
        for script in (*self.webs, *self.workers):
            script.tell_to_stop()
        for script in (*self.webs, *self.workers):
            script.end()

    def kill(self) -> None:
        """At once, children first, so that no supervisor or master is left to start another."""
        for script in (*self.webs, *self.workers):
            script.kill()


def _setting_names() -> set[str]:
    import dataclasses

    from settings import Settings

    return {row.name.upper() for row in dataclasses.fields(Settings)} | {"KERAS_HOME", "TEST_FAULTS"}


# What the machine's owner has set must not reach the scripts under test.
_SETTINGS = _setting_names()
