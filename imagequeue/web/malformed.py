"""The answer to bytes that are not HTTP, and the line about them: JSON like every error, without a byte of theirs.

Gunicorn's own answer is HTML that quotes the client, and its line quotes up to 32 kB: perhaps an API key in a header
that was mistyped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gunicorn.http import errors

from imagequeue.events import LOGGER, log
from imagequeue.throttle import Throttle
from imagequeue.web import tracecontext
from imagequeue.web.errorbody import error_document
from imagequeue.web.plainhttp import answer


class Refusal(NamedTuple):
    """status: with its phrase."""

    status: str
    code: str
    message: str


_BAD = "400 Bad Request"
_BROKEN = Refusal("500 Internal Server Error", "internal", "Something broke here. The log has more about the request.")
# The first that fits counts.
_REFUSALS: tuple[tuple[tuple[type[Exception], ...], Refusal], ...] = (
    # A header that the application itself has set.
    ((errors.InvalidResponseHeader, errors.InvalidResponseHeaderName), _BROKEN),
    ((errors.InvalidRequestLine,), Refusal(_BAD, "bad_request", "The request line is not valid HTTP.")),
    ((errors.InvalidRequestMethod,), Refusal(_BAD, "bad_request", "The request's method is not valid.")),
    (
        (errors.InvalidHTTPVersion,),
        Refusal("505 HTTP Version Not Supported", "http_version_not_supported", "HTTP/1.0 and HTTP/1.1 are supported."),
    ),
    ((errors.LimitRequestLine,), Refusal("414 URI Too Long", "uri_too_long", "The request line is too long.")),
    (
        (errors.LimitRequestHeaders,),
        Refusal(
            "431 Request Header Fields Too Large",
            "bad_request",
            "The request has too many header fields, or a too long one.",
        ),
    ),
    (
        (errors.ExpectationFailed,),
        Refusal("417 Expectation Failed", "expectation_failed", "Expect may only be 100-continue."),
    ),
    (
        (errors.UnsupportedTransferCoding,),
        Refusal("501 Not Implemented", "not_implemented", "The only Transfer-Encoding that is supported is chunked."),
    ),
    (
        (errors.InvalidChunkSize, errors.ChunkMissingTerminator, errors.InvalidChunkExtension),
        Refusal(_BAD, "bad_request", "The body's chunks are broken."),
    ),
    (
        (errors.InvalidHeader, errors.InvalidHeaderName, errors.ObsoleteFolding, errors.InvalidSchemeHeaders),
        Refusal(_BAD, "bad_request", "A header field is not valid HTTP, or occurs twice."),
    ),
    # The environment variable SCRIPT_NAME, of which Gunicorn demands that every path begins with it; see ROOT_PATH.
    ((errors.ConfigurationProblem,), Refusal("404 Not Found", "not_found", "There is nothing at this path.")),
    ((errors.ParseException,), Refusal(_BAD, "bad_request", "The request is not valid HTTP.")),
)


def refusal_of(error: Exception) -> Refusal:
    """What an error of Gunicorn's, or one that nobody has caught, is answered."""
    return next((refusal for kinds, refusal in _REFUSALS if isinstance(error, kinds)), _BROKEN)


class MalformedRequests:
    """For a worker of Gunicorn's, before its own class."""

    _throttle: Throttle | None = None

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Gunicorn's hook: in a request's thread, nothing of the answer sent yet."""
        refusal, request_id = refusal_of(exc), tracecontext.request_id("")
        self._throttle = self._throttle or Throttle()
        if self._throttle.admits(type(exc).__name__):
            status = int(refusal.status.split()[0])
            fields: dict[str, Any] = {"request": request_id, "status": status, "code": refusal.code}
            if refusal is _BROKEN:
                LOGGER.error("unexpected", exc_info=exc, extra={"fields": fields})
            else:
                fields |= {"reason": refusal.message, "error": type(exc).__name__, "bytes": _quoted_bytes(exc)}
                address = addr[0] if isinstance(addr, tuple) and addr else "-"
                log("refused", **fields, address=address)
        document = error_document("", refusal.code, refusal.message, request_id)
        try:
            client.sendall(answer(refusal.status, f"X-Request-ID: {request_id}\r\n", document))
        except OSError:
            # Gone, or not taking what it is sent.
            return


def _quoted_bytes(error: Exception) -> int:
    """How much of the request the error holds."""
    return max((len(value) for value in vars(error).values() if isinstance(value, str | bytes)), default=0)
