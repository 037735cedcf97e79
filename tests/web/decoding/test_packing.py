"""Compressed bodies, unpacked within a limit whatever they claim."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from imagequeue.errors import BadRequest, ImageQueueError, TooLarge
from imagequeue.web.decoding.packing import unpacked


def bare(body: bytes) -> bytes:
    """Deflate without a wrapper."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("packing", "pack"),
    [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", bare), ("deflate", gzip.compress)],
)
@pytest.mark.parametrize("body", [b"", b"the body" * 10, bytes(300_000)])
def test_a_body_is_as_it_was_before_it_was_packed(packing: str, pack: Callable[[bytes], bytes], body: bytes) -> None:
    assert unpacked(pack(body), packing, 300_000) == body


def test_a_bare_body_whose_end_comes_out_late_is_whole() -> None:
    # All of it is taken in before the last piece has been given out.
    for length in range(65_530, 66_140, 3):
        body = (b"abcdefgh" * 9000)[:length]
        assert unpacked(bare(body), "deflate", 100_000) == body, length


@pytest.mark.parametrize(
    ("body", "packing", "error"),
    [
        (gzip.compress(b"x" * 1001, mtime=0), "gzip", TooLarge),
        (gzip.compress(bytes(50_000_000), mtime=0), "gzip", TooLarge),
        (bare(b"x" * 1001), "deflate", TooLarge),
        (gzip.compress(b"a body that is cut off", mtime=0)[:-9], "gzip", BadRequest),
        (bare(b"cut off")[:-1], "deflate", BadRequest),
        (b"not gzip at all", "gzip", BadRequest),
        (b"not deflate at all", "deflate", BadRequest),
        (b"", "gzip", BadRequest),
        (b"", "deflate", BadRequest),
        (bare(b"claims to be gzip"), "gzip", BadRequest),
        (gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), "gzip", BadRequest),
    ],
)
def test_what_is_too_large_or_broken_is_refused(body: bytes, packing: str, error: type[ImageQueueError]) -> None:
    with pytest.raises(error):
        unpacked(body, packing, 1000)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000), mtime=0)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            unpacked(bomb, "gzip", 100_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000
