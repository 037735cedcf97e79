"""Processors and open files."""

from __future__ import annotations

from imagequeue.doctor.check import Check, failed, ok, warning

# A web server's threads may each hold a connection, and as many descriptors again are Redis, pipes and files.
LEAST_FILES = 256
_FIX_FILES = "ulimit -Hn 4096 as root, or LimitNOFILE=4096 in the unit of systemd"


def check_processors(available: int, total: int, *, model_threads: int) -> Check:
    """available: as the cgroup's quota and the affinity mask allow. model_threads: MODEL_THREADS."""
    found = f"{available} of {total}" + (" (the cgroup's quota, or the affinity mask)" if available < total else "")
    if model_threads > available:
        found += f"; MODEL_THREADS={model_threads} are more"
        return warning("processors", found, "unset MODEL_THREADS")
    return ok("processors", found)


def check_open_files(limits: tuple[int, int], *, unlimited: int, wanted: int) -> Check:
    """limits: the soft and the hard one. unlimited: what stands for none. wanted: descriptors of one web process."""
    soft, hard = ("unlimited" if limit == unlimited else str(limit) for limit in limits)
    found = f"soft limit {soft}, hard {hard}; a web server raises the soft one"
    if limits[1] == unlimited or limits[1] >= wanted:
        return ok("open files", found)
    if limits[1] < LEAST_FILES:
        return failed("open files", f"{found}, and needs {LEAST_FILES}", _FIX_FILES)
    return warning("open files", f"{found}; {wanted} serve WEB_THREADS connections", _FIX_FILES)
