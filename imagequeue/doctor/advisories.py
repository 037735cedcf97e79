"""Published security holes of Redis and Valkey, and the releases that fixed them.

The gravest of 2024 to 2026, as of November 2026; the two projects have complete lists. Sources: the security advisories
of redis/redis (GHSA-4789-qfc9-5f9q, GHSA-39h2-x6c4-6w4c, GHSA-93m2-935m-8rj3) and of valkey-io/valkey, both projects'
release notes, and the CVE records. Distributions such as Debian fix holes without a new version number, so a hole that
is open by the number may be closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagequeue.doctor.check import Check, ok, warning
from imagequeue.doctor.release import Version, version_text


@dataclass(frozen=True)
class Advisory:
    """ids: CVE numbers that the same releases fixed. redis, valkey: the first fixed version of each branch.

    A branch without a fixed version is open, unless it is newer than all branches that have one, or older than `since`.
    """

    ids: tuple[str, ...]
    redis: tuple[Version, ...]
    valkey: tuple[Version, ...]
    since: Version = (0,)

    def is_open_in(self, product: str, version: Version) -> bool:
        fixed = self.fixed(product)
        if not fixed or version < self.since or version[:2] > max(fixed)[:2]:
            return False
        return not any(version[:2] == first[:2] and version >= first for first in fixed)

    def fixed(self, product: str) -> tuple[Version, ...]:
        return self.valkey if product == "Valkey" else self.redis


ADVISORIES = (
    # Lua's bit library: a stack overflow. Patterns: an endless match.
    Advisory(
        ("CVE-2024-31449", "CVE-2024-31228"),
        redis=((6, 2, 16), (7, 2, 6), (7, 4, 1)),
        valkey=((7, 2, 7), (8, 0, 1)),
    ),
    # Lua's garbage collector: remote code execution.
    Advisory(("CVE-2024-46981",), redis=((6, 2, 17), (7, 2, 7), (7, 4, 2)), valkey=((7, 2, 8), (8, 0, 2))),
    # HyperLogLog: a write out of bounds.
    Advisory(
        ("CVE-2025-32023",),
        redis=((6, 2, 19), (7, 2, 10), (7, 4, 5), (8, 0, 3)),
        valkey=((7, 2, 10), (8, 0, 4), (8, 1, 3)),
    ),
    # Lua's parser: remote code execution, CVSS 10.
    Advisory(
        ("CVE-2025-49844",),
        redis=((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
        valkey=((7, 2, 11), (8, 0, 6), (8, 1, 4)),
    ),
    # A blocked client that is evicted: remote code execution.
    Advisory(
        ("CVE-2026-23479",),
        redis=((7, 2, 14), (7, 4, 9), (8, 2, 6), (8, 4, 3), (8, 6, 3)),
        valkey=((7, 2, 13), (8, 0, 8), (8, 1, 7), (9, 0, 4)),
        since=(7, 2),
    ),
    # Connections with TLS: remote code execution, in Redis without a password.
    Advisory(
        ("CVE-2026-81934 (TLS)",),
        redis=(
            *((6, 2, 24), (7, 2, 16), (7, 4, 11)),
            *((8, 2, 9), (8, 4, 6), (8, 6, 6), (8, 8, 2), (8, 10, 1)),
        ),
        valkey=(),
    ),
    Advisory(
        ("CVE-2026-56684 (TLS)", "CVE-2026-63639"),
        redis=(),
        valkey=((7, 2, 14), (8, 0, 10), (8, 1, 9), (9, 0, 5), (9, 1, 1)),
    ),
)


def check(product: str, version: Version) -> Check:
    """product: `Redis` or `Valkey`. version: (7, 2, 4)."""
    named = f"{product} {version_text(version)}"
    open_here = [advisory for advisory in ADVISORIES if advisory.is_open_in(product, version)]
    if not open_here:
        return ok("redis security", f"{named}: none of the known holes is open")
    ids = [one for advisory in open_here for one in advisory.ids]
    found = f"{named} has, by its number, {', '.join(ids)}; its distribution may have fixed them"
    return warning("redis security", found, f"upgrade to {product} {version_text(_fixed(product, version))} or newer")


def _fixed(product: str, version: Version) -> Version:
    """The first version without any of them: of the same branch, or else of the newest one."""
    fixes = [advisory.fixed(product) for advisory in ADVISORIES if advisory.fixed(product)]
    same = [max((one for one in fixed if one[:2] == version[:2]), default=(0,)) for fixed in fixes]
    return max(same) if same[-1] != (0,) else max(fixes[-1])
