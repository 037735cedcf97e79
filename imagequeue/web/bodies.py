"""A request's body as bytes, whatever type it claims, unpacked where it was compressed, within a limit.

The other protocols' clients send JSON under any Content-Type or none (`curl -d` says it is a form).
"""

from __future__ import annotations

import zlib

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from imagequeue.errors import BadRequest, TooLarge, TooSlow, Unsupported

# Tells zlib to find out by itself whether gzip or zlib wraps the data.
_ANY_WRAPPER = 32 + zlib.MAX_WBITS


def read_body(request: Request, limit: int) -> bytes:
    """At most `limit` bytes, before they are unpacked and after. Raises TooLarge, TooSlow, BadRequest, Unsupported."""
    request.max_content_length = limit
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise TooLarge(f"The body is larger than {limit} bytes.") from error
    except (ClientDisconnected, TimeoutError) as error:
        raise TooSlow("The body broke off, or came too slowly.") from error
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise Unsupported(f"Content-Encoding: {encoding[:20]} is not taken; gzip and deflate are.")
    return _unpacked(body, limit)


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_ANY_WRAPPER)
    try:
        # One byte more than the limit tells a body that is too large, and a bomb is never unpacked any further.
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"The compressed body is broken: {error}.") from error
    if len(unpacked) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes when it is unpacked.")
    if not unpacker.eof:
        raise BadRequest("The compressed body is cut off.")
    return unpacked
