"""What a decoder does: pixels out of an image file, image files out of a document. It runs in a decoder process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from imagequeue import images
from imagequeue.errors import ImageQueueError, TooLarge
from imagequeue.formats.essence import BYTES_PER_PIXEL
from imagequeue.web.decoding import documents
from imagequeue.web.decoding.packing import unpacked

# What parsing takes for each byte of JSON (empty lists); docs/internals.md has the measurements.
BYTES_PER_JSON_BYTE = 26
# A task that may take more waits for its turn among the large ones. It is a photograph of 8 megapixels, or 5.5 MB of
# JSON.
SMALL_BYTES = 144 * 2**20

Reply = tuple[dict[str, Any], list[bytes]]


class NeedsMore(TooLarge):
    """The task may take so many `bytes` of memory, and was not allowed to."""

    def __init__(self, bytes: int) -> None:
        super().__init__(f"This takes up to {bytes} bytes of memory.")
        self.bytes = bytes


def run(head: Mapping[str, Any], parts: list[bytes]) -> Reply:
    """The reply to one request: `{}` and its byte strings, `{"needs": bytes}`, or `{"error": code, "message": …}`."""
    try:
        return TASKS[head["task"]](head, parts)
    except NeedsMore as more:
        return {"needs": more.bytes}, []
    except ImageQueueError as error:
        return {"error": error.code, "message": error.message}, []
    except MemoryError:
        return {"error": TooLarge.code, "message": "The request takes more memory than a decoder has."}, []


def _allow(head: Mapping[str, Any], wanted: int) -> None:
    if wanted > SMALL_BYTES and not head["may_be_large"]:
        raise NeedsMore(wanted)


def _decode(head: Mapping[str, Any], parts: list[bytes]) -> Reply:
    """One image file as pixels; see images.decode."""

    def room_for(needed: int) -> AbstractContextManager[None]:
        _allow(head, needed)
        return nullcontext()

    width, height = head["size"]
    pixels = images.decode(
        parts[0],
        size=(width, height),
        max_bytes=head["max_bytes"],
        max_pixels=head["max_pixels"],
        is_fast=head["is_fast"],
        room_for=room_for,
    )
    return {}, [pixels]


def _unpack(head: Mapping[str, Any], parts: list[bytes]) -> Reply:
    """A body as it was before it was compressed."""
    return {}, [unpacked(parts[0], head["packing"], head["limit"])]


def _read(head: Mapping[str, Any], parts: list[bytes]) -> Reply:
    """The image files in a JSON document, and what else it asks for; see documents."""
    body = parts.pop()
    _allow(head, len(body) * BYTES_PER_JSON_BYTE)
    packing, limit = head["packing"], head["limit"]
    small = SMALL_BYTES // BYTES_PER_JSON_BYTE
    if packing and limit > small and not head["may_be_large"]:
        try:
            body = unpacked(body, packing, small)
        except TooLarge:
            raise NeedsMore(limit * BYTES_PER_JSON_BYTE) from None
    else:
        body = unpacked(body, packing, limit)
    wanted, files = documents.read(head["format"], body, head.get("header_length"))
    return {"wanted": wanted}, files


TASKS: Mapping[str, Callable[[Mapping[str, Any], list[bytes]], Reply]] = {
    "decode": _decode,
    "unpack": _unpack,
    "read": _read,
}

__all__ = ["BYTES_PER_PIXEL", "SMALL_BYTES", "run"]
