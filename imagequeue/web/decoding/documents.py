"""The formats of JSON in which images come, by name: of each, the image files and what else the request asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from imagequeue.web.instances import read_examples, read_instances
from imagequeue.web.jsonimages import check_count, read_images, read_json
from imagequeue.web.v2_tensors import read_request

# What the request asks for, as JSON, and its image files.
Document = tuple[dict[str, Any], list[bytes]]


def read(format: str, body: bytes, header_length: str | None) -> Document:
    """The images of a body. header_length: where the JSON ends and tensors begin, of the format `infer`.

    Raises BadRequest, TooLarge.
    """
    wanted, files = _FORMATS[format](body, header_length)
    check_count(len(files))
    return wanted, files


def _images(body: bytes, header_length: str | None) -> Document:
    files, is_single = read_json(body, read_images)
    return {"is_single": is_single}, files


def _instances(body: bytes, header_length: str | None) -> Document:
    return _taken_apart(read_json(body, read_instances))


def _examples(body: bytes, header_length: str | None) -> Document:
    return {}, read_json(body, read_examples)


def _infer(body: bytes, header_length: str | None) -> Document:
    return _taken_apart(read_request(body, header_length))


def _taken_apart(document: Any) -> Document:
    """A frozen document with `files` among its fields."""
    return {f.name: getattr(document, f.name) for f in fields(document) if f.name != "files"}, document.files


_FORMATS: Mapping[str, Callable[[bytes, str | None], Document]] = {
    "images": _images,
    "instances": _instances,
    "examples": _examples,
    "infer": _infer,
}
