"""From a request to the image files in it, in each of the three forms that a body may have.

Nothing is decoded here, and nothing touches the disk.
"""

from __future__ import annotations

import binascii
import re
from typing import IO, Any

from flask import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from imagequeue.errors import BadRequest, Unsupported
from imagequeue.web.bodies import read_body
from imagequeue.web.decoding.reader import BodyReader
from imagequeue.web.jsonimages import MAX_SHOWN, check_count, decode_base64

# Boundaries and part headers on top of the image itself.
MULTIPART_SLACK = 64 * 1024
# Of a form, whatever their names: each costs the parser time.
MAX_PARTS = 1000

EXAMPLE = "curl -F image=@photo.jpg"
ADVICE = f"Set no Content-Type yourself: let your client set it, as {EXAMPLE} does."
# RFC 5987's spelling, which the parser passes over.
_EXTENDED_NAME = re.compile(r";\s*filename\*\s*=", re.IGNORECASE)


class BodyStream:
    """The body as the server reads it from the wire; what goes wrong there is the client's doing."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Raises BadRequest, TimeoutError."""
        try:
            return self._stream.read(size)
        except TimeoutError:
            # Too slow is not broken; read_body says so.
            raise
        # Each server has exceptions of its own for chunks that are none.
        except Exception as error:
            raise BadRequest("The body is broken: it ends too early, or its chunks are none.") from error


class MemoryRequest(Request):
    """A request whose body, if it cannot be read, is the client's mistake."""

    def __init__(self, environ: dict[str, Any], *args: Any, **options: Any) -> None:
        environ["wsgi.input"] = BodyStream(environ["wsgi.input"])
        super().__init__(environ, *args, **options)


def read_uploads(request: Request, max_bytes: int, reader: BodyReader) -> tuple[list[bytes], bool]:
    """The image files of a request, and whether it asked for one answer (True) or for a list.

    max_bytes: the most bytes that the images of a request may have together, unpacked where the body is compressed.
    Raises BadRequest, TooLarge, TooSlow, Unsupported, DeadlineExceeded, ClientGone, ServerBusy.
    """
    kind = request.mimetype
    if kind == "multipart/form-data":
        form = read_body(request, max_bytes + MULTIPART_SLACK).plain(reader)
        uploads, is_single = _from_form(form, request.mimetype_params.get("boundary", ""))
    elif kind == "application/json":
        wanted, uploads = read_body(request, json_limit(max_bytes)).document(reader, "images")
        is_single = bool(wanted["is_single"])
    elif kind.startswith("image/") or kind == "application/octet-stream":
        uploads, is_single = [read_body(request, max_bytes).plain(reader)], True
    else:
        raise Unsupported(
            f"A body of type {kind[:MAX_SHOWN] or '(none)'} is not taken. Send multipart/form-data with a field "
            f"`image` ({EXAMPLE}), the file itself as image/jpeg, image/png, …, or JSON with base64."
        )
    check_count(len(uploads))
    if is_single and not uploads[0]:
        raise BadRequest(f"The request has no image: its body is empty. For example: {EXAMPLE}")
    return uploads, is_single


def json_limit(max_bytes: int) -> int:
    """How long a JSON body with images of `max_bytes` may be: base64 is a third longer than what it stands for."""
    return max_bytes * 4 // 3 + MULTIPART_SLACK


def _from_form(form: bytes, boundary: str) -> tuple[list[bytes], bool]:
    uploads: list[bytes] = []
    fields: set[str] = set()
    part: MultipartSegment | None = None
    try:
        if not boundary:
            raise BadRequest(f"The Content-Type of the form has no boundary. {ADVICE}")
        # Latin-1 reads any byte: the names of people's files are in whatever their machine writes.
        parser = PushMultipartParser(boundary, max_segment_count=MAX_PARTS, header_charset="latin-1")
        if b"--" + parser.boundary not in form:
            raise BadRequest(f"The boundary in the Content-Type of the form is not in its body. {ADVICE}")
        # The whole body at once, so that each file is one piece, too, and is copied once.
        for event in parser.parse(form):
            if isinstance(event, MultipartSegment):
                fields.add(event.name or "(nameless)")
                part = event if event.name == "image" and _is_file(event) else None
                if part is not None:
                    # Nothing follows of a file that is empty.
                    uploads.append(b"")
            elif event and part is not None:
                uploads[-1] = _decoded(event, part)
        parser.close()
    except ParserLimitReached as error:
        raise BadRequest(f"The form has too many parts, or a part too many or too long headers; {EXAMPLE}") from error
    except MultipartError as error:
        raise BadRequest(f"The form is broken: {error}. For example: {EXAMPLE}") from error
    if not uploads:
        if "image" in fields:
            raise BadRequest(f"The field `image` is text, not a file. For example: {EXAMPLE}")
        names = ", ".join(sorted(fields)).encode("latin-1", "replace").decode("utf-8", "replace")
        there = f"its fields are {names[:200]}" if fields else "it has no field at all"
        raise BadRequest(f"The form has no field `image`; {there}. For example: {EXAMPLE}")
    return uploads, len(uploads) == 1


def _is_file(part: MultipartSegment) -> bool:
    """It has a name of a file, in either spelling, or a type that is not text."""
    if part.filename is not None or (part.content_type and not part.content_type.startswith("text/")):
        return True
    return _EXTENDED_NAME.search(part.header("Content-Disposition", "")) is not None


def _decoded(content: bytes, part: MultipartSegment) -> bytes:
    """A part's content as it was before its Content-Transfer-Encoding, which mail programs' libraries write."""
    encoding = part.header("Content-Transfer-Encoding", "binary").strip().lower()
    if encoding in ("binary", "8bit", "7bit"):
        return content
    if encoding == "quoted-printable":
        return binascii.a2b_qp(content)
    if encoding != "base64":
        raise BadRequest(f"A part's Content-Transfer-Encoding is {encoding[:MAX_SHOWN]}, which is not taken.")
    try:
        return decode_base64(content)
    except ValueError as error:
        raise BadRequest(f"A part's base64 is broken: {error}.") from error
