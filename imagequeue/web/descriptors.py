"""How many files, sockets among them, a process may have open, and how many of them connections may take.

Connections that take all of them leave none for Redis, for a decoder's pipe, for a log file.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

# Kept back for everything that is no client's connection and is opened later.
RESERVED = 64
# Where the limit leaves no more: a server that takes nobody in is none.
LEAST_CONNECTIONS = 8


def raise_limit() -> None:
    """As many as this process may have: the soft limit, 1,024 as a rule, becomes the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS calls the hard limit endless and does not take it at its word.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(wanted: int) -> int:
    """So many, `wanted` at most, that RESERVED descriptors are left beside those that are open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(LEAST_CONNECTIONS, min(wanted, soft - _open_now() - RESERVED))


def _open_now() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        # Not Linux.
        return RESERVED
