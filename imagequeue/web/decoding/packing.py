"""Compressed bodies: what Content-Encoding calls gzip and deflate, unpacked piece by piece within a limit."""

from __future__ import annotations

import zlib

from imagequeue.errors import BadRequest, TooLarge

# By the header's word, what it is called here.
PACKINGS = {"identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
# Tells zlib to find out by itself whether gzip or zlib wraps the data.
_ANY_WRAPPER = 32 + zlib.MAX_WBITS
_GZIP = b"\x1f\x8b"
_PIECE = 64 * 1024


def unpacked(body: bytes, packing: str, limit: int) -> bytes:
    """At most `limit` bytes; never more than a piece beyond it are unpacked. packing: one of PACKINGS' values.

    Raises TooLarge, BadRequest.
    """
    if not packing:
        return body
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if packing == "deflate" and not _is_wrapped(body) else _ANY_WRAPPER)
    content = bytearray()
    # All may be taken in while the end of what it stands for has still to come out.
    is_more = True
    try:
        while is_more and not unpacker.eof:
            piece = unpacker.decompress(body, _PIECE)
            content += piece
            body = unpacker.unconsumed_tail
            is_more = bool(body) or len(piece) == _PIECE
            if len(content) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes when it is unpacked.")
    except zlib.error as error:
        raise BadRequest(f"The compressed body is broken: {error}.") from error
    if not unpacker.eof:
        raise BadRequest("The compressed body is cut off.")
    if unpacker.unused_data.startswith(_GZIP):
        raise BadRequest("The compressed body has several members; send one.")
    return bytes(content)


def _is_wrapped(body: bytes) -> bool:
    """It begins as gzip or zlib do (RFC 1950). Some clients send deflate without the wrapper that HTTP means by it."""
    is_zlib = len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    return is_zlib or body.startswith(_GZIP)
