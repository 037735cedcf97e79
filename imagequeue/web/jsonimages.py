"""JSON with images in it: how a body becomes a document, and base64 or a data: URL an image file.

What all three protocols read JSON with, and nothing of it needs a request: neither Flask nor Werkzeug is imported, so
that a process without them can do it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from imagequeue.errors import BadRequest, TooLarge

# More would hold one thread and one client for longer than anybody waits.
MAX_IMAGES = 128
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_PARSING = threading.Lock()

Read = TypeVar("Read")


def read_json(body: bytes, read: Callable[[dict[str, Any]], Read]) -> Read:
    """What `read` makes of the JSON object in a body. Raises BadRequest, and what `read` does.

    One body at a time in each process, and nobody keeps it: of empty lists it takes 25 times its bytes. The
    interpreter's lock would let no two of them pass anyway.
    """
    with _PARSING:
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
    """The image files of a request to /predict, and whether it asked for one answer. Raises BadRequest."""
    if "image" in document:
        return [from_base64(document["image"], "image")], True
    images = document.get("images")
    if not isinstance(images, list) or not images:
        raise BadRequest('The JSON has no image; send {"image": "<base64>"} or {"images": ["<base64>", …]}.')
    return [from_base64(image, f"images[{i}]") for i, image in enumerate(images)], False


def check_count(images: int) -> None:
    """Raises TooLarge if a request has more images than are taken at once."""
    if images > MAX_IMAGES:
        raise TooLarge(f"The request has {images} images; at most {MAX_IMAGES} are taken at once.")


def from_base64(text: object, where: str) -> bytes:
    """The bytes of a base64 string or a data: URL. Raises BadRequest, saying `where` it stood."""
    if not isinstance(text, str):
        raise BadRequest(f"`{where}` is no string of base64.")
    if text[:5].lower() == "data:":
        prefix = _DATA_URL.match(text)
        if not prefix:
            raise BadRequest(f"`{where}` is a data: URL without base64.")
        text = text[prefix.end() :]
    try:
        # Line breaks are what `base64 photo.jpg` prints.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"`{where}` is broken base64: {error}.") from error
