"""Memory that the processes may still take: the machine's, and what the limits of a container leave of it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from imagequeue.cgroup import Level, levels
from imagequeue.doctor.check import Check, ok, warning

# A worker takes 1.2 GB where it converts ResNet50, a web server of two processes some 0.2 GB beside images that are
# decoded; docs/internals.md has the figures.
LEAST_BYTES = 1_500_000_000


def check(root: Path = Path("/")) -> Check:
    """root: where proc/ and sys/ lie."""
    machine = _of_machine(root)
    if machine is None:
        return ok("memory", "not known on this system")
    limited = min((free for level in levels("memory", root) if (free := _left(level)) is not None), default=machine)
    available = min(machine, limited)
    found = f"{available / 1e9:.1f} GB available"
    if limited < machine:
        found += f" below the cgroup's limit (the machine has {machine / 1e9:.1f})"
    if available < LEAST_BYTES:
        fix = "raise the limit; or MODEL=efficientnet-lite0, MAX_IMAGE_PIXELS=12000000, WEB_PROCESSES=1"
        return warning("memory", f"{found}; {LEAST_BYTES / 1e9:.1f} GB are recommended", fix)
    return ok("memory", found)


def _of_machine(root: Path) -> int | None:
    """Source: proc(5), meminfo."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _left(level: Level) -> int | None:
    """The limit less what is used, of which files that nobody reads at the moment are given back when it gets tight."""
    limit_file, used_file, files_key = (
        ("memory.max", "memory.current", "inactive_file")
        if level.version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        limit = (level.directory / limit_file).read_text().strip()
        used = int((level.directory / used_file).read_text())
        if limit == "max":
            return None
        idle = 0
        with suppress(OSError):
            statistics = dict(line.split(" ", 1) for line in (level.directory / "memory.stat").read_text().splitlines())
            idle = int(statistics.get(files_key, 0))
        return max(0, int(limit) - max(0, used - idle))
    except (OSError, ValueError):
        return None
