"""A request's body as bytes or JSON, whatever type it claims, unpacked where it was compressed, within a limit.

The other protocols' clients send JSON under any Content-Type or none (`curl -d` says it is a form).
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from imagequeue.errors import BadRequest, TooLarge, TooSlow, Unsupported

# Tells zlib to find out by itself whether gzip or zlib wraps the data.
_ANY_WRAPPER = 32 + zlib.MAX_WBITS
_PARSING = threading.Lock()

Read = TypeVar("Read")


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


def read_json(body: bytes, read: Callable[[dict[str, Any]], Read]) -> Read:
    """What `read` makes of the JSON object in a body. Raises BadRequest, and what `read` does.

    One body at a time in each process, and nobody keeps it: of empty lists it takes 25 times its bytes. The
    interpreter's lock would let no two of them pass anyway.
    """
    with _PARSING:
        return read(_parsed(body))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    # RecursionError: a few kilobytes of brackets are enough.
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is no JSON: {str(error)[:200]}.") from error
    if not isinstance(document, dict):
        raise BadRequest("The JSON is no object.")
    return document
