"""The bodies of one request, read in its time and on its account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imagequeue.web.decoding import documents
from imagequeue.web.decoding.documents import Document
from imagequeue.web.decoding.pool import DecoderPool
from imagequeue.web.decoding.turn import Turn

# A shorter document is read where it is: JSON of this length takes a few milliseconds at the worst, and a photograph of
# a usual size fits in.
INLINE_BYTES = 256 * 1024


@dataclass(frozen=True)
class BodyReader:
    """hold: called with the bytes that are about to be held for the request; raises ServerBusy if that is too much."""

    pool: DecoderPool
    turn: Turn
    hold: Callable[[int], object]

    def document(
        self, format: str, body: bytes, *, limit: int, packing: str, header_length: str | None = None
    ) -> Document:
        """What a JSON body asks for, and its image files; arguments and errors as DecoderPool.read has them."""
        if not packing and len(body) <= INLINE_BYTES:
            return documents.read(format, body, header_length)
        return self.pool.read(
            format,
            body,
            self.turn,
            limit=limit,
            packing=packing,
            header_length=header_length,
            hold=self.hold,
        )

    def unpacked(self, body: bytes, *, limit: int, packing: str) -> bytes:
        """A gzip or deflate body, of at most `limit` bytes without its packing. Errors: see DecoderPool.unpack."""
        return self.pool.unpack(body, self.turn, limit=limit, packing=packing, hold=self.hold)
