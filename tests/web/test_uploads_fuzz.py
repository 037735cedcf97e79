"""Whatever the body and whatever it claims to be, a request is read or refused with a 4xx; never anything else."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from imagequeue.errors import BadRequest, TooLarge, Unsupported
from imagequeue.web.decoding.reader import BodyReader
from imagequeue.web.uploads import MemoryRequest, read_uploads
from tests.support.decoding import InlineReader
from tests.support.inprocess import Service
from tests.support.mutations import FILES, broken_bytes

MAX_BYTES = 20_000
READER = cast("BodyReader", InlineReader())
PNG = FILES["png"]
POSTS = ("/predict", "/v1/models/null:predict", "/v1/models/null:classify", "/v2/models/null/infer")
FORM = (
    b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    + PNG
    + b'\r\n--xyz\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n--xyz--\r\n'
)

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
encoded = st.one_of(
    st.just(base64.b64encode(PNG).decode()),
    st.binary(max_size=40).map(lambda content: base64.b64encode(content).decode()),
    st.sampled_from(["", "=", "data:image/png;base64,", "data:,x", "data:image/png;base64,####", "\ud800", " \n"]),
    st.text(max_size=30),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | encoded
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["b64", "image", "data", "shape", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
tensors = st.fixed_dictionaries(
    {"name": st.just("image") | encoded, "datatype": st.sampled_from(["BYTES", "UINT8", "FP32"]) | scalars},
    optional={
        "shape": st.lists(st.integers(-2, 2**40), max_size=4) | values,
        "data": values,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "binary_data"]), scalars, max_size=2),
    },
)
documents = st.dictionaries(
    st.sampled_from(
        ["image", "images", "instances", "inputs", "examples", "signature_name", "id", "outputs", "parameters"]
    ),
    values | st.lists(tensors, max_size=2),
    max_size=3,
)
bodies = st.one_of(
    documents.map(lambda document: json.dumps(document).encode()),
    documents.flatmap(lambda document: broken_bytes(json.dumps(document).encode())),
    broken_bytes(FORM),
    st.just(b"[" * 100_000),
    st.binary(max_size=200),
)
kinds = st.one_of(
    st.sampled_from(
        [
            "multipart/form-data; boundary=xyz",
            "multipart/form-data",
            "multipart/form-data; boundary=" + "x" * 300,
            "application/json",
            "application/json; charset=utf-7",
            "image/png",
            "application/octet-stream",
            "text/plain",
            "",
        ]
    ),
    printable,
)
HEADERS = ["Content-Encoding", "Inference-Header-Content-Length", "Prefer", "X-Request-ID", "traceparent"]
odd_values = st.sampled_from(["gzip", "deflate", "br", "-1", "0", "5", "99999999999", "respond-async", "wait=x", "é"])
headers = st.dictionaries(st.sampled_from(HEADERS), odd_values | printable, max_size=2)


def read(body: bytes, kind: str) -> tuple[list[bytes], bool] | None:
    """None where the request is refused."""
    environ = EnvironBuilder(method="POST", data=body, content_type=kind).get_environ()
    try:
        return read_uploads(MemoryRequest(environ), MAX_BYTES, READER)
    except (BadRequest, TooLarge, Unsupported):
        return None


def test_before_it_is_broken_the_form_has_one_image() -> None:
    assert read(FORM, "multipart/form-data; boundary=xyz") == ([PNG], True)


@pytest.mark.parametrize("name", ["", '; filename="a.png"'])
def test_a_part_without_a_name_is_named_as_such(name: str) -> None:
    body = f"--xyz\r\nContent-Disposition: form-data{name}\r\n\r\nhello\r\n--xyz--\r\n".encode()
    builder = EnvironBuilder(method="POST", data=body, content_type="multipart/form-data; boundary=xyz")
    with pytest.raises(BadRequest, match="nameless"):
        read_uploads(MemoryRequest(builder.get_environ()), MAX_BYTES, READER)


@given(bodies, kinds)
def test_any_body_is_read_or_refused(body: bytes, kind: str) -> None:
    uploads, is_single = read(body, kind) or ([b"x"], True)
    assert uploads
    assert len(uploads) == 1 or not is_single
    assert sum(map(len, uploads)) <= MAX_BYTES * 4 // 3 + 65_536


@given(
    st.sampled_from(POSTS),
    bodies,
    kinds,
    headers,
    st.sampled_from(["", "?top=0", "?top=5", "?top=%00", "?top=99999999999999999999"]),
)
def test_every_endpoint_answers_any_request_with_a_reason(
    service: Service, path: str, body: bytes, kind: str, headers: dict[str, str], query: str
) -> None:
    answer: Any = service.client.post(path + query, data=body, content_type=kind, headers=headers)
    assert answer.status_code in {200, 202, *range(400, 432)}, answer.text
    if answer.status_code >= 400:
        assert answer.json["error"]


@pytest.mark.parametrize("path", POSTS)
def test_compressed_nonsense_is_refused(service: Service, path: str) -> None:
    answer = service.client.post(path, data=b"\x1f\x8b" + bytes(50), headers={"Content-Encoding": "gzip"})
    assert 400 <= answer.status_code < 432


@pytest.mark.parametrize("length", ["0" * 5000, "9" * 5000, "-1", "\u0662"])
def test_a_header_length_that_is_none_is_refused(service: Service, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    assert service.client.post("/v2/models/null/infer", data=b"{}", headers=headers).status_code == 400
