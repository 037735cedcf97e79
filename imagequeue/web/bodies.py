"""A request's body as bytes, whatever type it claims, within a limit.

The other protocols' clients send JSON under any Content-Type or none (`curl -d` says it is a form).
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from imagequeue.errors import TooLarge, TooSlow, Unsupported
from imagequeue.web.decoding.documents import Document
from imagequeue.web.decoding.packing import PACKINGS
from imagequeue.web.decoding.reader import BodyReader


@dataclass(frozen=True)
class Body:
    """What came, of `limit` bytes at most; packed, see packing, it may have no more when it is unpacked."""

    content: bytes
    limit: int
    packing: str = ""

    def plain(self, reader: BodyReader) -> bytes:
        """As it was before it was packed. Raises TooLarge, BadRequest, DeadlineExceeded, ClientGone, ServerBusy."""
        if not self.packing:
            return self.content
        return reader.unpacked(self.content, limit=self.limit, packing=self.packing)

    def document(self, reader: BodyReader, format: str, header_length: str | None = None) -> Document:
        """What its JSON asks for, and the image files in it; see documents. Errors as `plain` has them."""
        return reader.document(
            format, self.content, limit=self.limit, packing=self.packing, header_length=header_length
        )


def read_body(request: Request, limit: int) -> Body:
    """The whole body. Raises TooLarge, TooSlow, BadRequest, Unsupported."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in PACKINGS:
        raise Unsupported(f"Content-Encoding: {encoding[:20]} is not taken; gzip and deflate are.")
    # One more tells a body that is too large: without a Content-Length, it is cut off there.
    request.max_content_length = limit + 1
    try:
        content = request.get_data(cache=False)
        if len(content) > limit:
            raise RequestEntityTooLarge
    except RequestEntityTooLarge as error:
        raise TooLarge(f"The body is larger than {limit} bytes.") from error
    except (ClientDisconnected, TimeoutError) as error:
        raise TooSlow("The body broke off, or came too slowly.") from error
    return Body(content, limit, PACKINGS[encoding])
