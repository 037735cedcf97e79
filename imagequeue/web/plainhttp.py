"""A request read and an answer written without Flask, for a tenth of what it costs there: for the event loop."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from gunicorn.util import http_date
from werkzeug.datastructures import Headers
from werkzeug.sansio.request import Request

from imagequeue.web import headers

_REQUEST_LINE = re.compile(r"(GET|HEAD|POST) (/[^ ?#]*)(?:\?[^ ]*)? HTTP/1\.([01])")
# No two parts of it can take the same byte, so it never tries twice: the loop must not be held up by a strange head.
_FIELD = re.compile(r"([\w!#$%&'*+.^`|~-]+):([^\r\n\0]*)", re.ASCII)
# As Gunicorn's parser has it.
MAX_FIELDS = 100
_FIXED = "".join(
    f"{name}: {value}\r\n"
    for name, value in {**headers.EVERYWHERE, "Content-Security-Policy": headers.ANSWER_POLICY}.items()
)


def parsed(head: bytes) -> tuple[Request, int] | None:
    """A request's head without its last two line ends, and the minor version of HTTP/1 that it speaks.

    None for another method, or what is odd: that is for Gunicorn's parser to judge.
    """
    line, *lines = head.decode("latin-1").split("\r\n")
    if len(lines) > MAX_FIELDS:
        return None
    wanted = _REQUEST_LINE.fullmatch(line)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if wanted is None or None in fields:
        return None
    named = Headers([(field[1], field[2].strip(" \t")) for field in fields if field])
    return Request(wanted[1], "http", None, "", unquote(wanted[2]), b"", named, None), int(wanted[3])


def answer(
    status: str, fields: str, document: dict[str, Any], *, minor: int = 1, is_kept: bool = False, is_head: bool = False
) -> bytes:
    """fields: this answer's own, each with its line's end. is_kept: the connection. is_head: it answers a HEAD."""
    content = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    head = (
        f"HTTP/1.{minor} {status}\r\nServer: gunicorn\r\nDate: {http_date()}\r\n"
        f"Connection: {'keep-alive' if is_kept else 'close'}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n{fields}{_FIXED}\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else content)
