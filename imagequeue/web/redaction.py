"""What Gunicorn says of a request that it cannot parse, without the request's own words: they may be an API key."""

from __future__ import annotations

# Where the parser's errors keep what they quote in their messages.
QUOTATIONS = ("hdr", "req", "method", "version", "expect", "line", "data", "term", "buf")
# A field that is named, when only its value is wrong, helps to find the fault. Another name may be a key itself.
NAMED = frozenset(
    {"AUTHORIZATION", "CONTENT-LENGTH", "COOKIE", "HOST", "TRANSFER-ENCODING", "X-API-KEY", "X-REQUEST-ID"}
)


def redact(error: BaseException) -> None:
    """Have the error's message say how long its quotation is, in place of it; before it is logged or sent."""
    for name in QUOTATIONS:
        quoted = getattr(error, name, None)
        if isinstance(quoted, str | bytes) and quoted not in NAMED:
            setattr(error, name, f"({len(quoted)} characters)")
