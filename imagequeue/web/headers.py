"""The headers that tell a browser what it may do with an answer; every answer carries them.

A view that needs another value sets it; what it sets stays. Sources: the OWASP HTTP Headers Cheat Sheet, and CSP
Level 3. HSTS belongs to whoever ends TLS, the proxy in front.
"""

from __future__ import annotations

from flask import Response

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # For browsers that do not know frame-ancestors.
    "X-Frame-Options": "DENY",
    # An answer is one client's, and true for a moment. Static files name their own.
    "Cache-Control": "no-store",
}

# What is no page loads nothing, whatever a browser takes it for.
ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

# No inline script and no inline style: what an attacker gets into a page's text is never run. `blob:` and `data:` are
# for the picture that a visitor has chosen, shown before it is sent.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def add_to(response: Response) -> None:
    """Set what the view has not set itself."""
    policy = PAGE_POLICY if response.mimetype == "text/html" else ANSWER_POLICY
    wanted = EVERYWHERE | {"Content-Security-Policy": policy}
    # Asked once for all: `setdefault` would compare each with every header, twice.
    there = {name.lower() for name, _ in response.headers}
    response.headers.extend({name: value for name, value in wanted.items() if name.lower() not in there})
