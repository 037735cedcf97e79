"""Bodies: compressed or not, never more than the limit, whatever they claim."""

from __future__ import annotations

import gzip
import zlib

import pytest
from werkzeug.test import EnvironBuilder

from imagequeue.errors import BadRequest, ImageQueueError, TooLarge, Unsupported
from imagequeue.web.bodies import read_body
from imagequeue.web.uploads import MemoryRequest


def read(body: bytes, encoding: str | None = None, limit: int = 1000) -> bytes:
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    return read_body(MemoryRequest(EnvironBuilder(method="POST", data=body, headers=headers).get_environ()), limit)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(None, bytes), ("identity", bytes), ("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_a_body_is_read_as_it_was_before_it_was_packed(encoding: str | None, pack: object) -> None:
    assert callable(pack)
    assert read(pack(b"the body" * 10), encoding) == b"the body" * 10


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (b"x" * 1001, None, TooLarge),
        (gzip.compress(b"x" * 1001, mtime=0), "gzip", TooLarge),
        (gzip.compress(bytes(50_000_000), mtime=0), "gzip", TooLarge),
        (gzip.compress(b"a body that is cut off", mtime=0)[:-9], "gzip", BadRequest),
        (b"no gzip at all", "gzip", BadRequest),
        (b"", "gzip", BadRequest),
        (b"x", "br", Unsupported),
        (b"x", "gzip, gzip", Unsupported),
    ],
)
def test_what_is_too_large_or_broken_is_refused(
    body: bytes, encoding: str | None, error: type[ImageQueueError]
) -> None:
    with pytest.raises(error):
        read(body, encoding, limit=1000 if len(body) <= 1001 else 60_000)


def test_a_body_of_just_the_limit_is_taken() -> None:
    assert len(read(gzip.compress(b"x" * 1000, mtime=0), "gzip")) == 1000
