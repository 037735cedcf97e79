"""Uploads as they should not be, each with the answer that it deserves."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from tests.support.pictures import encode, picture

MAX_BYTES = 200_000
MAX_PIXELS = 1_000_000
BOUNDARY = "frontier"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
GOOD = picture(1)
GOOD64 = base64.b64encode(GOOD).decode()


@dataclass(frozen=True)
class Upload:
    """One request, and the status and code of its refusal. chunked: sent without a Content-Length."""

    name: str
    status: int
    code: str
    body: bytes
    kind: str = "image/png"
    query: str = ""
    is_chunked: bool = False


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of these chunks, true to its header or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def form(*parts: tuple[str, bytes], end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    """A multipart body; each part is its headers and its content."""
    return (
        b"".join(f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n" for headers, content in parts)
        + end.encode()
    )


def file(content: bytes, field: str = "image", filename: str = "x.png") -> tuple[str, bytes]:
    headers = f'Content-Disposition: form-data; name="{field}"; filename="{filename}"\r\nContent-Type: image/png'
    return headers, content


def text(content: bytes, field: str = "image") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{field}"', content


def no_images() -> Iterator[tuple[str, bytes]]:
    """Bytes that are no image that is read here: 422 in every form of a body."""
    jpeg = encode(Image.linear_gradient("L").convert("RGB"), "JPEG")
    gif, bmp, webp = (encode(Image.linear_gradient("L").convert("RGB"), format) for format in ("GIF", "BMP", "WEBP"))
    yield "text", b"this is no picture\n" * 20
    yield "one byte", b"\0"
    yield "zeros", bytes(5000)
    yield "html", b"<!doctype html><title>404</title>"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    yield "pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"
    yield "zip", b"PK\x03\x04" + bytes(200)
    yield "icon", encode(Image.new("RGB", (20, 20)), "ICO")
    yield "floating-point tiff", encode(Image.new("F", (20, 20)), "TIFF")
    yield "heic, only its head", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    yield "ico", encode(Image.new("RGB", (16, 16)), "ICO")
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    yield "jpeg, only its first bytes", jpeg[:3]
    yield "jpeg, only its header", jpeg[:200]
    yield "jpeg, one half", jpeg[: len(jpeg) // 2]
    yield "jpeg, without its head", jpeg[100:]
    yield "png, only its signature", GOOD[:8]
    yield "png, one half", GOOD[: len(GOOD) // 2]
    yield "png, a broken header", GOOD[:16] + b"\xff\xff" + GOOD[18:]
    yield "png, pixels that are no zlib", png(20, 20, chunk(b"IDAT", b"no zlib at all"))
    yield "png, fewer pixels than it says", png(900, 900, chunk(b"IDAT", zlib.compress(bytes(100))))
    yield "png, no pixels", png(20, 20)
    yield "png, no width", png(0, 20, chunk(b"IDAT", zlib.compress(bytes(100))))
    yield "png, a depth that is none", png(20, 20, chunk(b"IDAT", zlib.compress(bytes(2000))), depth=7)
    yield "gif, one half", gif[: len(gif) // 2]
    yield "gif, only its head", b"GIF89a\x0a\x00\x0a\x00"
    yield "bmp, one half", bmp[: len(bmp) // 2]
    yield "webp, one half", webp[: len(webp) // 2]
    yield "webp, only its head", b"RIFF\x24\x00\x00\x00WEBPVP8 "


def bad_uploads() -> list[Upload]:
    bomb = png(50_000, 50_000, chunk(b"IDAT", zlib.compress(bytes(1000))))
    too_many = png(1001, 1000, chunk(b"IDAT", zlib.compress(bytes(1000))))
    large = GOOD + bytes(MAX_BYTES)
    huge = bytes(2 * MAX_BYTES)
    uploads = [Upload(f"bytes: {name}", 422, "bad_image", body) for name, body in no_images()]

    def add(name: str, status: int, code: str, body: bytes, kind: str = "image/png", **rest: object) -> None:
        uploads.append(Upload(name, status, code, body, kind, **rest))  # type: ignore[arg-type]

    def add_json(name: str, document: object, status: int = 400, code: str = "bad_request") -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        add(f"json: {name}", status, code, body, JSON)

    add("bytes: none", 400, "bad_request", b"")
    add("bytes: none, chunked", 400, "bad_request", b"", is_chunked=True)
    add("bytes: half a jpeg called octets", 422, "bad_image", b"\xff\xd8\xff", "application/octet-stream")
    add("bytes: a bomb of 50,000 x 50,000 pixels", 413, "too_large", bomb)
    add("bytes: one row of pixels too many", 413, "too_large", too_many)
    add("bytes: too many", 413, "too_large", large)
    add("bytes: too many, chunked", 413, "too_large", large, is_chunked=True)
    add("bytes: twice too many, no image", 413, "too_large", huge)

    for kind in (
        "",
        "text/plain",
        "text/html",
        "application/x-www-form-urlencoded",
        "application/xml",
        "video/mp4",
        "nonsense",
    ):
        add(f"type: {kind or 'none'}", 415, "unsupported_type", GOOD, kind)

    for top in ("0", "-1", "1001", "five", "1.5", "", "9" * 40, "1e2", "%00", "0000000019999", "٣"):
        add(f"top={top!r}", 400, "bad_request", GOOD, query=f"?top={top}")

    add("form: empty body", 400, "bad_request", b"", FORM)
    add("form: no parts", 400, "bad_request", form(), FORM)
    add("form: another field", 400, "bad_request", form(file(GOOD, "picture")), FORM)
    add("form: the field is text", 400, "bad_request", form(text(b"castle_image.jpg")), FORM)
    add("form: the field is a whole image as text", 400, "bad_request", form(text(GOOD64.encode() * 40)), FORM)
    add("form: the file is empty", 400, "bad_request", form(file(b"")), FORM)
    add("form: the file is text", 422, "bad_image", form(file(b"no picture", filename="x.jpg")), FORM)
    add("form: the file is a bomb", 413, "too_large", form(file(bomb)), FORM)
    add("form: the file is too large", 413, "too_large", form(file(large)), FORM)
    add("form: too large, chunked", 413, "too_large", form(file(huge)), FORM, is_chunked=True)
    add("form: two files, both bad", 422, "bad_image", form(file(b"a"), file(b"b")), FORM)
    add("form: more files than are taken", 413, "too_large", form(*[file(GOOD[:99])] * 129), FORM)
    add("form: a thousand fields", 400, "bad_request", form(*[text(b"x", f"f{n}") for n in range(1500)]), FORM)
    add("form: no boundary is named", 400, "bad_request", form(file(GOOD)), "multipart/form-data")
    add("form: another boundary is named", 400, "bad_request", form(file(GOOD)), "multipart/form-data; boundary=other")
    add("form: the boundary is empty", 400, "bad_request", form(file(GOOD)), "multipart/form-data; boundary=")
    add("form: ends in the middle of the file", 400, "bad_request", form(file(GOOD))[:-200], FORM)
    add("form: ends without its last boundary", 400, "bad_request", form(file(GOOD), end=""), FORM)
    add("form: a part without a name", 400, "bad_request", form(("Content-Type: image/png", GOOD)), FORM)
    add("form: a part's headers never end", 400, "bad_request", f"--{BOUNDARY}\r\n".encode() + b"X: y" * 9000, FORM)
    add("form: is json", 400, "bad_request", json.dumps({"image": GOOD64}).encode(), FORM)

    add_json("empty", b"")
    add_json("broken", b'{"image": "')
    add_json("no utf-8", b'{"image": "\xff\xfe"}')
    add_json("deep", b'{"image": ' + b"[" * 100_000)
    add_json("deep and closed", b"[" * 50_000 + b"]" * 50_000)
    add_json("a huge number", b'{"image": ' + b"9" * 10_000 + b"}")
    add_json("is an image", GOOD)
    for document in ([], None, 5, "text", [{"image": GOOD64}], {}, {"picture": GOOD64}):
        add_json(f"is {json.dumps(document)[:24]}", document)
    for image in (None, 5, True, [], {}, [GOOD64], {"b64": GOOD64}, "", "  ", "not base64!", GOOD64[:-3], "\ud800"):
        add_json(f"the image is {json.dumps(image)[:24]}", {"image": image})
    for images in (None, "", GOOD64, {}, [], [5], [None], ["broken!", GOOD64]):
        add_json(f"the images are {json.dumps(images)[:24]}", {"images": images})
    add_json("base64 of text", {"image": base64.b64encode(b"no picture").decode()}, 422, "bad_image")
    add_json("base64 twice", {"image": base64.b64encode(GOOD64.encode()).decode()}, 422, "bad_image")
    add_json("a data: URL without base64", {"image": "data:image/png,%89PNG"})
    add_json("a data: URL without anything", {"image": "data:"})
    add_json("a data: URL with an empty image", {"image": "data:image/png;base64,"})
    add_json("a data: URL with text", {"image": "data:image/png;base64,aGVsbG8="}, 422, "bad_image")
    add_json("an address", {"image": "http://127.0.0.1/x.png"})
    add_json("a file's path", {"image": "file:///etc/passwd"})
    add_json("a bomb", {"image": base64.b64encode(bomb).decode()}, 413, "too_large")
    add_json("an image that is too large", {"image": base64.b64encode(large).decode()}, 413, "too_large")
    add_json("a body that is too large", {"image": base64.b64encode(huge).decode()}, 413, "too_large")
    add_json("more images than are taken", {"images": [GOOD64[:400]] * 129}, 413, "too_large")
    add_json("all images bad", {"images": ["aGVsbG8=", "aGVsbG8="]}, 422, "bad_image")
    return uploads
