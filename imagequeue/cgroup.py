"""Where the limits of this process are: its own cgroup and those above it, of version 1 or 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Level:
    """One cgroup: the directory with its files, and the version (1 or 2) that says which files those are."""

    version: int
    directory: Path


def levels(controller: str, root: Path = Path("/")) -> Iterator[Level]:
    """The cgroups whose limits on `controller` (`cpu`, `memory`) hold for this process, its own first; none elsewhere
    than on Linux.

    root: where proc/ and sys/ lie. Source: the kernel's cgroup-v1/cgroups.rst and cgroup-v2.rst.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            version, base = 2, root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            version, base = 1, root / "sys/fs/cgroup" / controller
        else:
            continue
        # Inside a container the path is the host's and does not exist; the mount's own top is then the cgroup.
        directory = base / path.lstrip("/")
        for level in (directory, *directory.parents):
            if level != base and base not in level.parents:
                break
            yield Level(version, level)
