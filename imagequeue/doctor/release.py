"""A release of Redis or Valkey: the product and its version."""

from __future__ import annotations

from typing import Any

Version = tuple[int, ...]
"""(7, 2, 4)."""
Release = tuple[str, Version]
"""("Valkey", (9, 1, 2)); ("", ()) for what cannot be run."""


def of_info(info: dict[str, Any]) -> Release:
    """From the answer to INFO. Valkey's redis_version is only the one that it is compatible with."""
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    return product, tuple(int(part) for part in version.split(".") if part.isdigit())


def version_text(version: Version) -> str:
    """`7.2.4`."""
    return ".".join(map(str, version))
