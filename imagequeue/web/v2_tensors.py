"""What an inference request of the Open Inference Protocol v2 asks for, and the tensors that answer it.

The body is JSON; with the binary extension the JSON is followed by the tensors' bytes, in the order in which it names
them, and a header says where it ends. A BYTES element is its length, uint32, and its bytes; all is little-endian.

Sources: the protocol's `predict` document, and Triton's extension_binary_data and extension_classification.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

from imagequeue.errors import BadRequest
from imagequeue.job import Result
from imagequeue.web.jsonimages import MAX_IMAGES, check_count, from_base64, read_json, shown

MAX_DIMENSIONS, MAX_SIZE = 8, 2**31
# It is echoed, so a long one would be held and sent as often as it is sent here.
MAX_ID = 1024
INPUT, OUTPUT = "image", "probabilities"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class InferRequest:
    """One request: its images, and the form of its answer.

    id: echoed, if it has one. classification: how many classes as text, in place of all probabilities; 0 for those.
    is_binary: the answer's tensor follows the JSON.
    """

    files: list[bytes] = field(repr=False)
    id: str | None = None
    classification: int = 0
    is_binary: bool = False


@dataclass(frozen=True)
class Tensor:
    """An output; `shape` of its elements, row by row: floats for FP32, bytes for BYTES."""

    name: str
    datatype: str
    shape: list[int]
    elements: Sequence[Any] = field(repr=False)

    def described(self) -> dict[str, Any]:
        """As JSON, its elements not in it."""
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}

    def in_json(self) -> dict[str, Any]:
        elements = [e.decode() for e in self.elements] if self.datatype == "BYTES" else list(self.elements)
        return self.described() | {"data": elements}

    def in_bytes(self) -> bytes:
        if self.datatype == "BYTES":
            return b"".join(_LENGTH.pack(len(element)) + element for element in self.elements)
        return struct.pack(f"<{len(self.elements)}f", *self.elements)


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """What a body asks for; header_length: of `Inference-Header-Content-Length`. Raises BadRequest, TooLarge."""
    if header_length is None:
        return read_json(body, lambda document: _read(document, b""))
    is_number = header_length.isascii() and header_length.isdigit() and len(header_length) <= 12
    if not is_number or int(header_length) > len(body):
        raise BadRequest(f"Inference-Header-Content-Length: {header_length[:20]} is no length of a part of the body.")
    length = int(header_length)
    if length == 0:
        # Triton's raw binary request: one image, and nothing said about it.
        return InferRequest([body])
    return read_json(body[:length], lambda document: _read(document, body[length:]))


def answer_tensor(wanted: InferRequest, results: Sequence[Result]) -> Tensor:
    """The output that `wanted` asks for, of results that hold as many predictions as that takes."""
    if not wanted.classification:
        rows = [result.distribution() for result in results]
        return Tensor(OUTPUT, "FP32", [len(rows), len(rows[0])], [p for row in rows for p in row])
    texts = [
        [f"{_decimal(p.probability)}:{p.index}:{p.label}".encode() for p in result.predictions[: wanted.classification]]
        for result in results
    ]
    return Tensor(OUTPUT, "BYTES", [len(texts), len(texts[0])], [text for row in texts for text in row])


def _decimal(value: float) -> str:
    """As Triton writes a value, six decimals and no exponent; but more where six would lose digits of a small one."""
    exact = Decimal(repr(value))
    exponent = exact.as_tuple().exponent
    return f"{exact:f}" if isinstance(exponent, int) and exponent < -6 else f"{exact:.6f}"


def _read(document: dict[str, Any], binary: bytes) -> InferRequest:
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadRequest("`id` is not a string.")
    if request_id is not None and len(request_id) > MAX_ID:
        raise BadRequest(f"`id` has {len(request_id)} characters; at most {MAX_ID} are taken.")
    classification, is_binary = _wanted_output(document)
    return InferRequest(_images(document, binary), request_id, classification, is_binary)


def _wanted_output(document: dict[str, Any]) -> tuple[int, bool]:
    """How many classes as text, and whether in bytes."""
    is_binary = _flag(_parameters(document, "The request"), "binary_data_output", False)
    outputs = document.get("outputs")
    if outputs is None or outputs == []:
        outputs = [{"name": OUTPUT}]
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise BadRequest(f"`outputs` is no list of the model's one output, `{OUTPUT}`.")
    (output,) = outputs
    if output.get("name") != OUTPUT:
        raise BadRequest(f"The model has no output {shown(output.get('name'))}; its output is `{OUTPUT}`.")
    parameters = _parameters(output, f"The output `{OUTPUT}`")
    classification = parameters.get("classification")
    if classification is None:
        classification = 0
    if isinstance(classification, float) and classification.is_integer():
        # JSON has one kind of number: 3.0 is the integer 3.
        classification = int(classification)
    if type(classification) is not int or classification < 0:
        raise BadRequest("`classification` is no number of classes.")
    return classification, _flag(parameters, "binary_data", is_binary)


def _images(document: dict[str, Any], binary: bytes) -> list[bytes]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadRequest(f"`inputs` is no list of the model's one input, `{INPUT}`.")
    (tensor,) = inputs
    if tensor.get("name") != INPUT:
        raise BadRequest(f"The model has no input {shown(tensor.get('name'))}; its input is `{INPUT}`.")
    if tensor.get("datatype") != "BYTES":
        raise BadRequest(f"`{INPUT}` is BYTES: each element an image file.")
    count = _count(tensor.get("shape"))
    size = _parameters(tensor, f"The input `{INPUT}`").get("binary_data_size")
    if size is None:
        if binary:
            raise BadRequest(f"{len(binary)} bytes follow the JSON, and no input has a `binary_data_size`.")
        texts = islice(_flat(tensor.get("data")), count + 1)
        files = [from_base64(text, f"{INPUT}[{i}]") for i, text in enumerate(texts)]
    else:
        if size != len(binary):
            raise BadRequest(f"`binary_data_size` is {shown(size)}, and {len(binary)} bytes follow the JSON.")
        files = list(islice(_elements(binary), count + 1))
    # One more than there should be is enough to know; millions of empty ones would take seconds.
    if len(files) > count:
        raise BadRequest(f"`{INPUT}` has more elements than the {count} of its shape.")
    if len(files) < count:
        raise BadRequest(f"`{INPUT}` has {len(files)} elements, and its shape says {count}.")
    return files


def _count(shape: object) -> int:
    """How many images a shape holds: [n], or [n, 1] as models that batch have it."""
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n >= 0 for n in shape):
        raise BadRequest(f"`shape` of `{INPUT}` is no list of sizes; for two images it is [2].")
    # Before they are multiplied: thousands of numbers of thousands of digits would hold the interpreter for minutes.
    if len(shape) > MAX_DIMENSIONS or any(n > MAX_SIZE for n in shape):
        raise BadRequest(f"`shape` of `{INPUT}` has more than {MAX_DIMENSIONS} sizes, or one beyond {MAX_SIZE}.")
    count = math.prod(shape)
    if count == 0:
        raise BadRequest(f"`{INPUT}` has no elements.")
    check_count(count)
    return count


def _elements(binary: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(binary):
        start = offset + _LENGTH.size
        offset = start + (_LENGTH.unpack_from(binary, offset)[0] if start <= len(binary) else 0)
        if not start <= offset <= len(binary):
            raise BadRequest(f"`{INPUT}` is cut off: each element is its length, four bytes, and so many bytes.")
        yield binary[start:offset]


def _flat(nested: object) -> Iterator[object]:
    """The elements of a tensor in JSON, whose rows may be nested or not."""
    if not isinstance(nested, list):
        raise BadRequest(f"`data` of `{INPUT}` is no list of base64 strings.")
    waiting = list(reversed(nested))
    # Each image may be in as many lists as there are dimensions; millions of empty ones would take seconds.
    steps = MAX_IMAGES * (MAX_DIMENSIONS + 1)
    while waiting:
        steps -= 1
        if steps < 0:
            raise BadRequest(f"`data` of `{INPUT}` has more elements than {MAX_IMAGES} images.")
        element = waiting.pop()
        if isinstance(element, list):
            waiting.extend(reversed(element))
        else:
            yield element


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(f"`{name}` is neither true nor false.")
    return value


def _parameters(owner: dict[str, Any], name: str) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"{name} has `parameters` that are no object.")
    if "shared_memory_region" in parameters:
        raise BadRequest(f"{name} lies in shared memory, which is not supported.")
    return parameters
