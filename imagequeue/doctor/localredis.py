"""Where no REDIS_URL is set: the server that `make serve` starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from imagequeue.doctor import advisories
from imagequeue.doctor.check import Check, failed, ok
from imagequeue.doctor.release import Release, version_text


def checks(binaries: Mapping[str, str], *, product_of: Callable[[str], Release], default_url: str) -> Sequence[Check]:
    """binaries: from a kind to the path of its server, the one that is started first. default_url: the address that the
    scripts use where they are started one by one.
    """
    if not binaries:
        return [
            failed(
                "redis",
                "REDIS_URL is not set, and here is no server of 6.2 or newer to start",
                "make serve (it installs Valkey), or apt-get install redis-server, or REDIS_URL=redis://host:6379/0",
            )
        ]
    binary = next(iter(binaries.values()))
    product, version = product_of(binary)
    named = f"{product} {version_text(version)}"
    found = f"REDIS_URL is not set: make serve starts {named} ({binary}), the scripts alone use {default_url}"
    return [ok("redis", found), advisories.check(product, version)]
