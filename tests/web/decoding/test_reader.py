"""A request's JSON, read here or in a decoder: the same answer, and never more held than is counted."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from imagequeue.errors import BadRequest, ImageQueueError, ServerBusy, TooLarge
from imagequeue.web.decoding import documents
from imagequeue.web.decoding.reader import INLINE_BYTES, BodyReader
from tests.support.decoding import Pool, turn

FILE = bytes(range(256)) * 4
FILE64 = base64.b64encode(FILE).decode()
TENSOR = [[[0, 128, 255], [1, 2, 3]], [[9, 9, 9], [7, 7, 7]]]
INFER = {
    "id": "7",
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": [FILE64, FILE64]}],
    "outputs": [{"name": "probabilities", "parameters": {"classification": 3, "binary_data": True}}],
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "images": {"images": [FILE64, FILE64]},
    "instances": {"instances": [TENSOR, TENSOR]},
    "examples": {"examples": [{"image": {"b64": FILE64}}]},
    "infer": INFER,
}
LIMIT = 2 * 2**20


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("format", DOCUMENTS)
@pytest.mark.parametrize(("packing", "pack"), [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_decoder_reads_a_document_as_it_is_read_here(
    make_pool: Callable[..., Pool], format: str, packing: str, pack: Callable[[bytes], bytes]
) -> None:
    body = encoded(DOCUMENTS[format])
    assert make_pool().document(format, pack(body), packing=packing) == documents.read(format, body, None)


def test_tensors_behind_the_json_are_read_in_a_decoder_too(make_pool: Callable[..., Pool]) -> None:
    binary = b"".join(len(FILE).to_bytes(4, "little") + FILE for _ in range(2))
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(binary)}}
    header = encoded({"inputs": [tensor]})
    wanted, files = make_pool().document("infer", header + binary, header_length=str(len(header)))
    assert files == [FILE, FILE]
    assert wanted == {"id": None, "classification": 0, "is_binary": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"images":[' + b'"",' * 300_000 + b'""]}',
        b'{"images":["%s"]}' % (b"#" * INLINE_BYTES),
        b"[" * 500_000,
    ],
    ids=["empty", "a list", "too many images", "not base64", "brackets"],
)
def test_what_is_wrong_with_a_document_is_said_as_it_is_here(make_pool: Callable[..., Pool], body: bytes) -> None:
    with pytest.raises(ImageQueueError) as here:
        documents.read("images", body, None)
    with pytest.raises(type(here.value)) as there:
        make_pool().document("images", body)
    assert there.value.message == here.value.message


@pytest.mark.parametrize(
    ("packed", "error"),
    [
        (gzip.compress(encoded(DOCUMENTS["images"]))[:-9], BadRequest),
        (b"not gzip at all", BadRequest),
        (b"", BadRequest),
        (gzip.compress(bytes(LIMIT + 1)), TooLarge),
        (gzip.compress(bytes(100 * LIMIT)), TooLarge),
    ],
    ids=["cut off", "not gzip", "empty", "one byte too many", "a bomb"],
)
def test_a_packed_body_that_is_broken_or_too_large_is_refused(
    make_pool: Callable[..., Pool], packed: bytes, error: type[ImageQueueError]
) -> None:
    pool = make_pool()
    with pytest.raises(error):
        pool.document("images", packed, packing="gzip", limit=LIMIT)
    with pytest.raises(error):
        pool.unpack(packed, turn(20), packing="gzip", limit=LIMIT)


def test_a_large_packed_body_takes_its_turn_among_the_large_ones(make_pool: Callable[..., Pool]) -> None:
    pool, text = make_pool(), base64.b64encode(bytes(5 * 2**20)).decode()
    packed = gzip.compress(encoded({"image": text}))
    wanted, files = pool.document("images", packed, packing="gzip", limit=10 * 2**20)
    assert (wanted, [len(file) for file in files]) == ({"is_single": True}, [5 * 2**20])
    assert pool.unpack(packed, turn(20), packing="gzip", limit=10 * 2**20) == encoded({"image": text})


def test_what_a_body_unpacks_to_is_counted_before_it_is_held(make_pool: Callable[..., Pool]) -> None:
    pool, counted = make_pool(), []

    def hold(size: int) -> None:
        counted.append(size)
        if size > 1_000_000:
            raise ServerBusy("too much")

    reader = BodyReader(pool, turn(20), hold)
    small, large = (
        gzip.compress(encoded({"image": base64.b64encode(bytes(n)).decode()})) for n in (500_000, 1_200_000)
    )
    reader.document("images", small, limit=LIMIT, packing="gzip")
    with pytest.raises(ServerBusy):
        reader.document("images", large, limit=LIMIT, packing="gzip")
    assert counted == [500_000, 1_200_000]
    assert reader.unpacked(gzip.compress(FILE), packing="gzip", limit=LIMIT) == FILE


def test_a_short_document_needs_no_decoder(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    reader = BodyReader(pool, turn(20), lambda size: None)
    reader.document("images", encoded({"image": FILE64}), limit=LIMIT, packing="")
    assert pool.decoders() == []
    long = encoded({"image": FILE64, "other": "y" * INLINE_BYTES})
    reader.document("images", long, limit=LIMIT, packing="")
    assert len(pool.decoders()) == 1
