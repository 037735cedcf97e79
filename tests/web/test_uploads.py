"""From a request to the image files in it, whatever form they came in."""

from __future__ import annotations

import base64
import gzip
import io
import json
import quopri
import zlib
from collections.abc import Callable
from typing import Any, cast

import pytest
from werkzeug.test import EnvironBuilder

from imagequeue.errors import BadRequest, TooLarge, Unsupported
from imagequeue.web.decoding.reader import BodyReader
from imagequeue.web.jsonimages import MAX_IMAGES
from imagequeue.web.uploads import MAX_PARTS, MULTIPART_SLACK, MemoryRequest, read_uploads
from tests.support.decoding import InlineReader

IMAGE = b"\x89PNG and \xff\x00 more"
IMAGE64 = base64.b64encode(IMAGE).decode()
LIMIT = 1000
FORM = "multipart/form-data; boundary=edge"
END = b"--edge--\r\n"
# Nothing here is long, or packed, so that it would take a decoder.
READER = cast("BodyReader", InlineReader())


def read(limit: int = LIMIT, **request: Any) -> tuple[list[bytes], bool]:
    builder = EnvironBuilder(method="POST", **request)
    return read_uploads(MemoryRequest(builder.get_environ()), limit, READER)


def read_chunked(body: bytes, kind: str, limit: int = LIMIT) -> tuple[list[bytes], bool]:
    """As a server gives a body without a Content-Length."""
    environ = EnvironBuilder(method="POST", content_type=kind, input_stream=io.BytesIO(body)).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ["wsgi.input_terminated"] = True
    return read_uploads(MemoryRequest(environ), limit, READER)


def file(content: bytes = IMAGE) -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), "photo.png"


def part(named: bytes, content: bytes = IMAGE) -> bytes:
    """Of a form, without its end; `named` is what follows `form-data`."""
    return b"--edge\r\nContent-Disposition: form-data; " + named + b"\r\n\r\n" + content + b"\r\n"


def test_a_form_with_one_file_asks_for_one_answer() -> None:
    assert read(data={"image": file()}) == ([IMAGE], True)


def test_a_form_with_several_files_asks_for_a_list_in_order() -> None:
    files = [file(b"a"), file(b"b"), file(b"c")]
    assert read(data={"image": files, "other": file(b"x"), "note": "text"}) == ([b"a", b"b", b"c"], False)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/anything", "application/octet-stream", "Image/PNG; charset=x"])
def test_a_raw_body_is_one_image(kind: str) -> None:
    assert read(data=IMAGE, content_type=kind) == ([IMAGE], True)


def test_a_raw_body_in_chunks_is_one_image() -> None:
    assert read_chunked(IMAGE, "image/png") == ([IMAGE], True)


def test_json_has_one_image_or_a_list() -> None:
    assert read(json={"image": IMAGE64}) == ([IMAGE], True)
    assert read(json={"images": [IMAGE64]}) == ([IMAGE], False)
    assert read(json={"images": [IMAGE64, base64.b64encode(b"b").decode()]}) == ([IMAGE, b"b"], False)


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert read_chunked(bytes(LIMIT), "image/png") == ([bytes(LIMIT)], True)
    with pytest.raises(TooLarge):
        read_chunked(bytes(LIMIT + 1), "image/png")
    assert read(data=bytes(LIMIT), content_type="image/png")
    with pytest.raises(TooLarge, match="larger than 1000 bytes"):
        read(data=bytes(LIMIT + 1), content_type="image/png")


@pytest.mark.parametrize("kind", ["image/png", "application/json", "multipart/form-data; boundary=x"])
def test_a_body_in_chunks_beyond_the_limit_is_refused_not_cut_off(kind: str) -> None:
    with pytest.raises(TooLarge):
        read_chunked(b" " * (LIMIT + MULTIPART_SLACK + LIMIT), kind)


def test_base64_of_an_image_of_the_limit_fits() -> None:
    assert read(json={"image": base64.b64encode(bytes(LIMIT)).decode()}) == ([bytes(LIMIT)], True)


def test_more_images_than_are_taken_at_once_are_refused() -> None:
    assert len(read(json={"images": [IMAGE64] * MAX_IMAGES}, limit=10**6)[0]) == MAX_IMAGES
    with pytest.raises(TooLarge, match="129 images; at most 128"):
        read(json={"images": [IMAGE64] * (MAX_IMAGES + 1)}, limit=10**6)


def test_a_form_says_what_it_has_instead() -> None:
    with pytest.raises(BadRequest, match="its fields are name, picture"):
        read(data={"picture": file(), "name": "x"})
    with pytest.raises(BadRequest, match=r"its fields are größe, 写真\."):
        read(data=part('name="写真"; filename="x"'.encode()) + part('name="größe"'.encode()) + END, content_type=FORM)
    with pytest.raises(BadRequest, match="is text, not a file"):
        read(data={"image": "photo.png", "x": file()})


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Disposition: form-data; name=\"image\"; filename*=utf-8''%D1%84.png",
        b'Content-Disposition: form-data; name=image;filename*="x.png"\r\nContent-Type: text/plain',
        b"Content-Disposition: form-data; name=image\r\nContent-Type: image/png",
        b"Content-Disposition: form-data; name=image\r\nContent-Type: application/octet-stream; x=y",
    ],
)
def test_a_part_is_a_file_by_either_name_or_by_its_type(headers: bytes) -> None:
    assert read(data=b"--edge\r\n" + headers + b"\r\n\r\n" + IMAGE + b"\r\n" + END, content_type=FORM) == (
        [IMAGE],
        True,
    )


def test_a_part_of_text_is_not_a_file() -> None:
    for kind in (b"text/plain", b"text/html; charset=x"):
        body = part(b"name=image\r\nContent-Type: " + kind) + END
        with pytest.raises(BadRequest, match="is text, not a file"):
            read(data=body, content_type=FORM)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        (b"base64", base64.encodebytes(IMAGE * 20)),
        (b"Base64 ", base64.urlsafe_b64encode(IMAGE * 20).rstrip(b"=")),
        (b"quoted-printable", quopri.encodestring(IMAGE * 20)),
        (b"8bit", IMAGE * 20),
        (b"7bit", IMAGE * 20),
        (b"binary", IMAGE * 20),
    ],
)
def test_a_part_is_decoded_as_its_transfer_encoding_says(encoding: bytes, content: bytes) -> None:
    named = b'name="image"; filename="x"\r\nContent-Transfer-Encoding: ' + encoding
    assert read(data=part(named, content) + END, content_type=FORM) == ([IMAGE * 20], True)


@pytest.mark.parametrize(
    ("encoding", "reason"), [(b"base64", "base64 is broken"), (b"x-uuencode" * 50, "x-uuencodex.*which is not taken")]
)
def test_a_transfer_encoding_that_cannot_be_decoded_is_named(encoding: bytes, reason: str) -> None:
    named = b'name="image"; filename="x"\r\nContent-Transfer-Encoding: ' + encoding
    with pytest.raises(BadRequest, match=reason) as raised:
        read(data=part(named) + END, content_type=FORM)
    assert len(raised.value.message) < 300
    # Of a field that nobody needs it does not count.
    other = part(b'name="other"\r\nContent-Transfer-Encoding: x')
    assert read(data=other + part(b'name="image"; filename="x"') + END, content_type=FORM) == ([IMAGE], True)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("multipart/form-data", "has no boundary"),
        ("multipart/form-data; boundary=", "has no boundary"),
        ('multipart/form-data; boundary=""', "has no boundary"),
        ("multipart/form-data; boundary=other", "is not in its body"),
        ("multipart/form-data; boundary=ä", "has no boundary"),
    ],
)
def test_a_boundary_that_is_missing_or_another_is_answered_with_advice(kind: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=f"{reason}.*let your client set it"):
        read(data=part(b'name="image"; filename="x"') + END, content_type=kind)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize(
    ("kind", "body", "slack"),
    [
        ("image/png", IMAGE, 0),
        (FORM, part(b'name="image"; filename="x"') + END, MULTIPART_SLACK),
        ("application/json", json.dumps({"image": IMAGE64}).encode(), MULTIPART_SLACK + LIMIT // 3),
    ],
)
def test_each_form_of_a_body_may_be_compressed_and_counts_unpacked(
    kind: str, body: bytes, slack: int, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {"Content-Encoding": encoding}
    assert read(data=pack(body), content_type=kind, headers=headers) == ([IMAGE], True)
    with pytest.raises(TooLarge, match=f"larger than {LIMIT + slack} bytes when it is unpacked"):
        read(data=pack(body + bytes(LIMIT + slack)), content_type=kind, headers=headers)
    with pytest.raises(BadRequest, match="cut off"):
        read(data=pack(body)[:-1], content_type=kind, headers=headers)
    with pytest.raises(Unsupported, match="br is not taken"):
        read(data=body, content_type=kind, headers={"Content-Encoding": "br"})


def test_a_form_that_is_broken_says_where() -> None:
    with pytest.raises(BadRequest, match="broken: Unexpected end"):
        read(data=part(b'name="image"; filename="x"'), content_type=FORM)
    with pytest.raises(BadRequest, match="too many parts"):
        read(data=part(b'name="x"') * (MAX_PARTS + 1) + END, content_type=FORM, limit=10**6)
    with pytest.raises(BadRequest, match="no field at all"):
        read(data=END, content_type=FORM)


@pytest.mark.parametrize(
    "filename", ["ä.png".encode(), "ä.png".encode("latin-1"), b"\xff\xfe", b"", b'a\\"b.png', b"C:\\photos\\a.png"]
)
def test_a_file_may_have_any_name(filename: bytes) -> None:
    named = b'name="image"; filename="%s"' % filename
    assert read(data=part(named) + END, content_type=FORM) == ([IMAGE], True)


def test_a_file_keeps_what_looks_like_the_end_of_it() -> None:
    content = b"\r\n--edg\r\n--\r\n\r\n--edg"
    assert read(data=part(b'name="image"; filename="x"', content) + END, content_type=FORM) == ([content], True)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "imag/png"])
def test_another_type_is_refused_with_those_that_are_taken(kind: str | None) -> None:
    with pytest.raises(Unsupported, match="multipart/form-data"):
        read(data=IMAGE, content_type=kind)


def test_a_body_that_the_server_cannot_read_is_the_clients_mistake() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise LookupError("chunk size")

    environ = EnvironBuilder(method="POST", content_type="image/png", input_stream=Broken()).get_environ()
    environ["wsgi.input_terminated"] = True
    with pytest.raises(BadRequest, match="body is broken"):
        read_uploads(MemoryRequest(environ), LIMIT, READER)
