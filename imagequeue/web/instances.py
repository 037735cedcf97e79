"""The images in a request of TensorFlow Serving's REST API, in any of the forms that its clients use.

An image is an encoded file, as `{"b64": "…"}`, a base64 string, or either under the name of the input; or a tensor,
height x width x 3 numbers. Tensors are RGB: whole numbers of 0 to 255, or fractions of 0 to 1 as TensorFlow Serving's
own example sends them. What is preprocessed already (negative values, means subtracted) is refused: the worker does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagequeue import images
from imagequeue.errors import BadRequest
from imagequeue.web.jsonimages import check_count, from_base64, shown

EXAMPLE = '{"instances": [{"b64": "<base64 of an image file>"}]}'


# The first takes image files, the second what most Keras models take; a request is served by its form, not its name.
FILES_SIGNATURE, TENSOR_SIGNATURE = "serving_default", "serving_tensor"


@dataclass(frozen=True)
class Instances:
    """Image files in the request's order.

    is_tensor: they came as numbers, and such a model has one output, where one of files has two.
    is_columnar: they came as `inputs`, and so the answer goes out as `outputs`.
    """

    files: list[bytes]
    is_tensor: bool
    is_columnar: bool


def read_instances(document: dict[str, Any]) -> Instances:
    """The images of a predict request. Raises BadRequest, TooLarge."""
    _check_signature(document)
    is_columnar = document.get("inputs") is not None
    if is_columnar == (document.get("instances") is not None):
        raise BadRequest(f"The request has neither or both of `instances` and `inputs`. For example: {EXAMPLE}")
    name = "inputs" if is_columnar else "instances"
    values = document[name]
    if is_columnar and isinstance(values, dict) and "b64" not in values:
        values = _only_value(values, name)
    if isinstance(values, dict):
        values = [values]
    if not isinstance(values, list) or not values:
        raise BadRequest(f"`{name}` is no list of images. For example: {EXAMPLE}")
    check_count(len(values))
    read = [_read_one(value, f"{name}[{i}]") for i, value in enumerate(values)]
    files = [file for file, _ in read]
    kinds = {is_tensor for _, is_tensor in read}
    if len(kinds) > 1:
        raise BadRequest(f"`{name}` mixes files and tensors; send them in two requests.")
    return Instances(files, kinds == {True}, is_columnar)


def read_examples(document: dict[str, Any]) -> list[bytes]:
    """The image files of a classify request: of each example the one feature that is binary. Raises BadRequest."""
    _check_signature(document)
    examples = document.get("examples")
    if not isinstance(examples, list) or not examples:
        raise BadRequest('`examples` is no list of examples: {"examples": [{"image": {"b64": "…"}}]}')
    check_count(len(examples))
    files = []
    for i, example in enumerate(examples):
        features = example.values() if isinstance(example, dict) else ()
        binary = [feature for feature in features if isinstance(feature, dict) and "b64" in feature]
        if len(binary) != 1:
            raise BadRequest(f"`examples[{i}]` has {len(binary)} binary features; it needs one: the image.")
        files.append(from_base64(binary[0]["b64"], f"examples[{i}]"))
    return files


def _check_signature(document: dict[str, Any]) -> None:
    signature = document.get("signature_name")
    if signature not in (None, "", FILES_SIGNATURE, TENSOR_SIGNATURE):
        raise BadRequest(f"Serving signature name: {shown(signature)} not found in signature def")


def _read_one(value: object, where: str) -> tuple[bytes, bool]:
    """The image file, and whether it was made of a tensor."""
    if isinstance(value, dict) and "b64" not in value:
        value = _only_value(value, where)
    if isinstance(value, dict):
        return from_base64(value.get("b64"), where), False
    if isinstance(value, list):
        return _file_of(value, where), True
    return from_base64(value, where), False


def _only_value(named: dict[str, Any], where: str) -> Any:
    if len(named) != 1:
        raise BadRequest(f"`{where}` has {len(named)} inputs; the model has one.")
    return next(iter(named.values()))


def _file_of(tensor: Sequence[Any], where: str) -> bytes:
    """An image file of height x width x 3 numbers."""
    try:
        width = len(tensor[0])
        is_even = all(len(row) == width for row in tensor) and all(len(pixel) == 3 for row in tensor for pixel in row)
        values = [value for row in tensor for pixel in row for value in pixel] if is_even else []
        pixels = _levels(values)
    except (TypeError, IndexError, KeyError, ValueError, OverflowError) as error:
        raise BadRequest(
            f"`{where}` is no RGB image: height x width x 3 numbers, either 0 to 255 or 0.0 to 1.0, not preprocessed."
        ) from error
    return images.as_file(pixels, size=(width, len(tensor)))


def _levels(values: Sequence[Any]) -> bytes:
    """Numbers as bytes. Raises ValueError, TypeError for what is no number or outside of the range."""
    if not values:
        raise ValueError("no values")
    # Whole numbers are levels, even if none is above 1: fractions are written as such, 0.0 and 1.0 too.
    if not any(isinstance(value, float) for value in values):
        return bytes(values)
    scale = 255 if max(values) <= 1 else 1
    return bytes([round(value * scale) for value in values])
