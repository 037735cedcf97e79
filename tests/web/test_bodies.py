"""Bodies: compressed or not, never more than the limit, whatever they claim."""

from __future__ import annotations

import gzip
from typing import cast

import pytest
from werkzeug.test import EnvironBuilder

from imagequeue.errors import TooLarge, Unsupported
from imagequeue.web.bodies import Body, read_body
from imagequeue.web.decoding.reader import BodyReader
from imagequeue.web.uploads import MemoryRequest


def read(body: bytes, encoding: str | None = None, limit: int = 1000) -> Body:
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    return read_body(MemoryRequest(EnvironBuilder(method="POST", data=body, headers=headers).get_environ()), limit)


@pytest.mark.parametrize(
    ("encoding", "packing"),
    [(None, ""), ("identity", ""), ("gzip", "gzip"), ("GZIP", "gzip"), ("x-gzip", "gzip"), (" deflate ", "deflate")],
)
def test_a_body_is_read_as_it_came_and_known_to_be_packed(encoding: str | None, packing: str) -> None:
    assert read(b"the body", encoding) == Body(b"the body", 1000, packing)


def test_a_packed_body_is_unpacked_by_the_reader_within_the_limit() -> None:
    class Reader:
        def unpacked(self, body: bytes, *, limit: int, packing: str) -> bytes:
            assert (limit, packing) == (1000, "gzip")
            return gzip.decompress(body)

    reader = cast("BodyReader", Reader())
    assert read(gzip.compress(b"the body"), "gzip").plain(reader) == b"the body"
    assert read(b"the body").plain(reader) == b"the body"


def test_a_body_of_more_than_the_limit_is_refused() -> None:
    assert len(read(b"x" * 1000).content) == 1000
    with pytest.raises(TooLarge):
        read(b"x" * 1001)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
def test_a_packing_that_is_not_supported_is_refused_by_its_name(encoding: str) -> None:
    with pytest.raises(Unsupported, match=encoding):
        read(b"x", encoding)
