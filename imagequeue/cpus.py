"""How many processors this process may really use: the host's count is a lie inside a container."""

from __future__ import annotations

import math
import os
from pathlib import Path

from imagequeue.cgroup import levels


def available(root: Path = Path("/")) -> int:
    """The processors to plan for, at least 1: the smaller of the affinity mask and the cgroup's CPU quota.

    root: where proc/ and sys/ lie. Source: the kernel's cgroup-v2.rst (cpu.max) and sched-bwc.rst (v1's
    cpu.cfs_quota_us).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    # A quota of 1.5 processors is worth two threads: one would leave half of it unused.
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """The tightest quota, in processors, of this process's cgroup and those above it."""
    quotas = [
        quota
        for level in levels("cpu", root)
        if (quota := (_read_v2 if level.version == 2 else _read_v1)(level.directory)) is not None
    ]
    return min(quotas, default=None)


def _read_v2(directory: Path) -> float | None:
    try:
        quota, period = (directory / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _read_v1(directory: Path) -> float | None:
    try:
        quota = int((directory / "cpu.cfs_quota_us").read_text())
        period = int((directory / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
