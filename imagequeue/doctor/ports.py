"""The ports that the processes listen on: free, or taken, and by whom where /proc says."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from imagequeue.doctor.check import Check, failed, ok, warning

_LISTENS = "0A"


def check_web(host: str, port: int, root: Path = Path("/")) -> Check:
    """WEB_HOST and WEB_PORT. root: where proc/ lies."""
    name, shown = "web port", f"{port} on {host or 'all addresses'}"
    if not port:
        return ok(name, "0: any free one")
    error = why_taken(host, port)
    if error is None:
        return ok(name, f"{shown} is free")
    if error.errno == errno.EADDRINUSE:
        holders = list(listeners(port, root))
        if any(holder.is_web_server for holder in holders):
            return ok(name, f"{shown}: a web server of this project listens there already ({_listed(holders)})")
        by = f" by {_listed(holders)}" if holders else ""
        return failed(name, f"{shown} is taken{by}", f"end it, or choose another port: WEB_PORT={port % 65535 + 1}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return failed(name, f"{shown}: this user may not listen there", "WEB_PORT=5000, behind a proxy")
    return failed(name, f"{shown}: {error.strerror or error}", "WEB_HOST=127.0.0.1, or 0.0.0.0 for all addresses")


def check_metrics(host: str, port: int, count: int) -> Check:
    """METRICS_HOST and METRICS_PORT: a worker takes the first free one of `count`."""
    name = "metrics port"
    if not port:
        return ok(name, "0: workers do not answer Prometheus")
    for candidate in range(port, min(port + count, 65536)):
        error = why_taken(host, candidate)
        if error is None:
            return ok(name, f"{candidate} on {host} is free")
        if error.errno != errno.EADDRINUSE:
            found = f"{candidate} on {host}: {error.strerror or error}"
            return warning(name, found, "METRICS_HOST=127.0.0.1 METRICS_PORT=9100")
    return warning(name, f"{port} to {candidate} on {host} are taken", "choose another METRICS_PORT")


def why_taken(host: str, port: int) -> OSError | None:
    """Why nothing can listen there; None if something can."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


class Holder:
    """A process that listens; of its command line only the program's name is kept, which holds no secret."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError where the process is gone, or somebody else's."""
        self.pid = int(directory.name)
        self.program = (directory / "comm").read_text(errors="replace").strip()
        words = (directory / "cmdline").read_bytes().split(b"\0")
        self.is_web_server = any(Path(os.fsdecode(word)).name == "run_web_server.py" for word in words)


def listeners(port: int, root: Path = Path("/")) -> Iterator[Holder]:
    """Source: the kernel's proc(5), net/tcp. Nothing where there is no /proc, or the processes are another user's."""
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(root / "proc/net" / table, port)}
    for directory in sorted((root / "proc").glob("[0-9]*")) if sockets else []:
        with suppress(OSError):
            if any(_target(link) in sockets for link in (directory / "fd").iterdir()):
                yield Holder(directory)


def _inodes(table: Path, port: int) -> Iterator[str]:
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                yield rest[5]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _listed(holders: list[Holder]) -> str:
    return ", ".join(f"{holder.program} (process {holder.pid})" for holder in holders[:3])
