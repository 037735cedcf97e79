"""The client's address and scheme as the trusted proxies in front report them, and whom an address counts for.

Each trusted proxy appends one entry, so they are counted from the end; what is in front of theirs the client may have
sent. The header is split at its commas, whatever is in it: a list with quoted strings, as Werkzeug reads it, lets a
client begin a quotation that swallows the proxy's entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Everybody whose address is none: together one client, for garbage must not be a new client each time.
UNKNOWN = "unknown"
SCHEMES = ("http", "https")
# What a provider gives to one customer, who can send from any address in it.
IPV6_PREFIX = 64


class Forwarded:
    """A WSGI application behind `proxies` trusted proxies."""

    def __init__(self, app: WSGIApplication, proxies: int) -> None:
        self._app = app
        self._proxies = proxies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        address = self._entry(environ.get("HTTP_X_FORWARDED_FOR", ""))
        if address:
            environ["REMOTE_ADDR"] = address_of(address)
        scheme = self._entry(environ.get("HTTP_X_FORWARDED_PROTO", ""))
        if scheme in SCHEMES:
            environ["wsgi.url_scheme"] = scheme
        return self._app(environ, start_response)

    def _entry(self, header: str) -> str:
        """What the outermost trusted proxy has seen; empty where there are fewer entries than proxies."""
        entries = header.rsplit(",", self._proxies)[-self._proxies :]
        return entries[0].strip() if len(entries) == self._proxies else ""


def address_of(text: str) -> str:
    """An IP address in its one spelling, without port, brackets and zone; UNKNOWN for what is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        # A zone may be any text.
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return UNKNOWN
    # A server that listens on IPv6 sees clients of IPv4 so.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def client_at(address: str) -> str:
    """Whom an address counts for: itself, or of IPv6 its network. address: from `address_of`."""
    return str(IPv6Network((address, IPV6_PREFIX), strict=False)) if ":" in address else address
