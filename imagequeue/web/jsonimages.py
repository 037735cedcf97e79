"""JSON with images in it: how a body becomes a document, and base64 or a data: URL an image file.

What all three protocols read JSON with, and nothing of it needs a request: neither Flask nor Werkzeug is imported, so
that a process without them can do it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pybase64

from imagequeue.errors import BadRequest, TooLarge

# More would hold one thread and one client for longer than anybody waits.
MAX_IMAGES = 128
# A type and its parameters; browsers write about thirty characters.
MAX_DATA_PREFIX = 1024
_DATA = "data:"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\n\r\v\f"
# What is escaped in an address, and may be in base64.
_ESCAPES = {"%2B": "+", "%2F": "/", "%3D": "=", "%0A": "", "%0D": "", "%20": ""}
# Of a name that somebody sent, in a message.
MAX_SHOWN = 100

Read = TypeVar("Read")


def read_json(body: bytes, read: Callable[[dict[str, Any]], Read]) -> Read:
    """What `read` makes of the JSON object in a body, which is not kept: of empty lists it takes 25 times its bytes.

    Raises BadRequest, and what `read` does.
    """
    return read(_parsed(body))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    # RecursionError: a few kilobytes of brackets are enough.
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is no JSON: {str(error)[:200]}.") from error
    if not isinstance(document, dict):
        raise BadRequest("The JSON is no object.")
    return document


def read_images(document: dict[str, Any]) -> tuple[list[bytes], bool]:
    """The image files of a request to /predict, and whether it asked for one answer. Raises BadRequest, TooLarge."""
    if "image" in document:
        return [from_base64(document["image"], "image")], True
    images = document.get("images")
    if not isinstance(images, list) or not images:
        raise BadRequest('The JSON has no image; send {"image": "<base64>"} or {"images": ["<base64>", …]}.')
    check_count(len(images))
    return [from_base64(image, f"images[{i}]") for i, image in enumerate(images)], False


def shown(value: object) -> str:
    """A value of somebody's document for a message: cut, and of what is nested only the kind."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value[:MAX_SHOWN]) if isinstance(value, str) else str(value)[:MAX_SHOWN]


def check_count(images: int) -> None:
    """Raises TooLarge if a request has more images than are taken at once."""
    if images > MAX_IMAGES:
        raise TooLarge(f"The request has {images} images; at most {MAX_IMAGES} are taken at once.")


def from_base64(text: object, where: str) -> bytes:
    """The bytes of a base64 string or a data: URL, in either alphabet, padded or not, with white space anywhere.

    Takes time in proportion to the text, and twice its memory. Raises BadRequest, saying `where` it was.
    """
    if not isinstance(text, str):
        raise BadRequest(f"`{where}` is not a string of base64.")
    if not text.isascii():
        raise BadRequest(f"`{where}` is broken base64: it has letters that are not ASCII.")
    if text[:MAX_DATA_PREFIX].lstrip()[: len(_DATA)].lower() == _DATA:
        text = _without_prefix(text, where)
    try:
        return decode_base64(text.encode("ascii"))
    except ValueError as error:
        raise BadRequest(f"`{where}` is broken base64: {error}.") from error


def decode_base64(encoded: bytes) -> bytes:
    """The bytes that base64 encodes. Raises ValueError."""
    # Nearly all are written by the standard, and decoded ten times as fast.
    with suppress(ValueError):
        return pybase64.b64decode(encoded, validate=True)
    # Line breaks are what `base64 photo.jpg` prints, `-` and `_` what is safe in an address.
    encoded = encoded.translate(_STANDARD, _WHITE_SPACE)
    end = encoded[-3:]
    padding = len(end) - len(end.rstrip(b"="))
    digits = len(encoded) - padding
    if padding > 2 or digits % 4 == 1:
        raise ValueError("it is cut off, or has more padding than there is")
    missing = -digits % 4 - padding
    if missing > 0:
        encoded += b"=" * missing
    return pybase64.b64decode(memoryview(encoded)[: digits + -digits % 4], validate=True)


def _without_prefix(url: str, where: str) -> str:
    """What follows the comma of a data: URL (RFC 2397). Raises BadRequest."""
    comma = url.find(",", 0, MAX_DATA_PREFIX)
    if comma < 0:
        raise BadRequest(f"`{where}` is a data: URL without a comma in its first {MAX_DATA_PREFIX} characters.")
    _, *parameters = url[:comma].split(";")
    if not parameters or parameters[-1].strip().lower() != "base64":
        raise BadRequest(f"`{where}` is a data: URL without base64.")
    encoded = url[comma + 1 :]
    if "%" in encoded:
        for escape, letter in _ESCAPES.items():
            encoded = encoded.replace(escape, letter).replace(escape.lower(), letter)
    return encoded
