"""Every option of Gunicorn's that faces a client, set on purpose: another version's default changes nothing here."""

from __future__ import annotations

from typing import Any

TOWARDS_CLIENTS: dict[str, Any] = {
    # What a client claims of how it came. A header SCRIPT_NAME or PATH_INFO from 127.0.0.1 is believed by default, and
    # gets past a proxy's rules on the path; ROOT_PATH is the setting for a prefix. The scheme and the address come from
    # X-Forwarded-… only as TRUSTED_PROXIES says, see access.
    "forwarder_headers": "",
    "forwarded_allow_ips": "",
    "secure_scheme_headers": {},
    # A name with an underscore would become the same variable as one with hyphens. nginx drops them, too.
    "header_map": "drop",
    # PROXY and uwsgi are other protocols in front of HTTP, and believed from 127.0.0.1; HTTP/2 is for the proxy.
    "proxy_protocol": "off",
    "proxy_allow_ips": "",
    "protocol": "http",
    "uwsgi_allow_ips": "",
    "http_protocols": "h1",
    "http2_cleartext": "off",
    # Gunicorn's own, even where gunicorn_h1c is installed: one parser, one set of limits.
    "http_parser": "python",
    # No path of this service is longer than 100 bytes; a whole head has 32 KiB, see pace.
    "limit_request_line": 4094,
    "limit_request_fields": 100,
    "limit_request_field_size": 8190,
    # Forms of HTTP that a proxy in front may read in another way, which is how requests are smuggled (RFC 9112, 11.2).
    "permit_obsolete_folding": False,
    "strip_header_spaces": False,
    "permit_unconventional_http_method": False,
    "permit_unconventional_http_version": False,
    "casefold_http_method": False,
    # A file goes out by the connection's own sendfile, which waits for no client and holds it once: see pacedsocket.
    # Unset is how Gunicorn uses it: by any value, True as well, it is switched off.
    "sendfile": None,
    # Longer than nginx keeps an idle connection (60 s): a server that closes first meets requests on their way.
    "keepalive": 65,
    # What the kernel holds of a crowd until it is accepted.
    "backlog": 2048,
    # The service has lines of its own for each request; these would quote paths, and headers, whole.
    "accesslog": None,
    # Never a traceback for a client, nor the code's own changes while it serves.
    "reload": False,
    "spew": False,
    # A process serves for as long as the server runs; its memory is bounded otherwise.
    "max_requests": 0,
    # The event loop, which waits for no client: one that has stopped for so long is started again.
    "timeout": 30,
}
