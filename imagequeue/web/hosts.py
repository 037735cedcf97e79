"""By which names this server may be asked for: the request's `Host`.

A page anywhere in the world may have its own name point to 127.0.0.1 a moment later, and then reads what this server
answers as if it were its own (DNS rebinding). It cannot change the Host that the browser sends.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from flask import Flask, request

from imagequeue.errors import Misdirected

ANY = "*"
# What leads to the machine itself, in every browser; names below localhost too (RFC 6761, 6.3).
LOOPBACK = ("localhost", ".localhost", "127.0.0.1", "[::1]")
# They answer the same to everybody, and monitors send any Host: kubelet the pod's address, HAProxy none.
PROBES = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]*)(?::[0-9]*)?", re.ASCII | re.IGNORECASE)


def names_for(address: str) -> tuple[str, ...]:
    """What is allowed where nothing else is said: on an address of the machine itself the names that lead to it, on
    others, which a proxy or a network is in front of, every name.
    """
    name = address.lower()
    try:
        number = ipaddress.ip_address(name)
    except ValueError:
        return LOOPBACK if name == "localhost" else (ANY,)
    shown = f"[{number}]" if number.version == 6 else str(number)
    return (*LOOPBACK, shown) if number.is_loopback else (ANY,)


class Hosts:
    """The names that are allowed."""

    def __init__(self, allowed: Sequence[str] = (ANY,)) -> None:
        """allowed: names without a port; `.example.org` with all below it; `*` for every one."""
        self._is_open = ANY in allowed
        self._names = {name.lower() for name in allowed if not name.startswith(".")}
        self._domains = tuple(name.lower() for name in allowed if name.startswith("."))

    def allows(self, host: str | None) -> bool:
        """host: the header as it came. A request without one comes from no browser: HTTP/1.0 has none."""
        if self._is_open or not host:
            return True
        name = _name(host)
        return name in self._names or f".{name}".endswith(self._domains)

    def guard(self, app: Flask) -> None:
        """Have `app` ask here before each of its requests."""
        if not self._is_open:
            app.before_request(self._check)

    def _check(self) -> None:
        """Raises Misdirected."""
        host = request.headers.get("Host")
        if request.path not in PROBES and not self.allows(host):
            name = _name(host or "")
            raise Misdirected(
                f"The Host {name} is not one of this server's names. To allow it, set ALLOWED_HOSTS={name}."
                if name
                else "The Host is not one of this server's names, which ALLOWED_HOSTS sets."
            )


def _name(host: str) -> str:
    """Without the port, in small letters and without the dot that ends a full name; empty if it is not a host."""
    found = _HOST.fullmatch(host.strip())
    return found[1].lower().removesuffix(".")[:253] if found else ""
