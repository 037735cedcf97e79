"""PyTorch's legacy archives (`torch.save` before version 1.6) as NumPy arrays, without PyTorch.

An archive is five pickles of protocol 2 in a row, then the numbers:

1. the magic number 0x1950a86a20f9469cfc6c,
2. the version of the format, 1001,
3. the writer's byte order and the sizes of its C types,
4. the state dict: an OrderedDict from a name to `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …)`,
   where a storage is a persistent id, `("storage", torch.FloatStorage, key, device, count, None)`,
5. the list of the storages' keys;
6. for each key in that order an int64, the count, and then so many numbers.

Source: `_legacy_save` and `_legacy_load` in torch/serialization.py.

A pickle is a program, and Python's own unpickler runs it. Here an interpreter for data alone takes its place: it has a
stack, a memo, the opcodes that an archive is written with, and the four names that an archive needs. None of them is
looked up: each stands for one fixed step below. So nothing that a file names is imported or called. Every count is
compared with the file's length before anything is made of it, and nothing is hashed or compared but strings and
numbers: nested tuples of a file's own making can take years for that, or end the process.
"""

from __future__ import annotations

import io
import math
import os
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imagequeue.errors import ConfigurationError

Tensors = dict[str, npt.NDArray[Any]]

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
# EfficientNet-Lite0 has 18.8 MB, and 296 tensors in 11,000 opcodes.
MOST_BYTES = 1 << 28
MOST_OPCODES = 100_000
MOST_DIMENSIONS = 8

_ORDERED_DICT, _REBUILD = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_DTYPES: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"LONG1", "BININT", "BININT1", "BININT2", "BINUNICODE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Broken(ValueError):
    """The file is not such an archive."""


@dataclass(frozen=True)
class _Name:
    """One of the four names, as a value on the stack."""

    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A window on a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(file: Path) -> Tensors:
    """Every tensor by its name, float32 or int64; read-only, and not always contiguous.

    Raises ConfigurationError for a file that cannot be read, or is no archive of such tensors.
    """
    try:
        with file.open("rb") as stream:
            # A file's size says at once what reading would take a while to find; of a device it is 0.
            is_too_large = os.fstat(stream.fileno()).st_size > MOST_BYTES
            archive = b"" if is_too_large else stream.read(MOST_BYTES + 1)
        if is_too_large or len(archive) > MOST_BYTES:
            raise _Broken(f"it has more than {MOST_BYTES} bytes")
        return _tensors(archive)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}") from error
    # pickletools raises ValueError for what is cut off or unknown, the stack's and the dicts' errors are the others.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{file} is no archive of PyTorch's legacy format: {error}") from error


def _tensors(archive: bytes) -> Tensors:
    stream = io.BytesIO(archive)
    magic, version, system, state, keys = (_unpickle(stream) for _ in range(5))
    if magic != MAGIC or version != VERSION:
        raise _Broken("its first numbers are others")
    if system["little_endian"] is not True:
        raise _Broken("its numbers are big-endian")
    if not isinstance(state, dict) or not all(isinstance(tensor, _Tensor) for tensor in state.values()):
        raise _Broken("it holds other things than named tensors")
    storages: dict[str, _Storage] = {}
    for tensor in state.values():
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise _Broken(f"storage {tensor.storage.key} has two forms")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise _Broken("its list of storages names others than its tensors")
    numbers = dict(_numbers(archive, stream.tell(), [storages[key] for key in keys]))
    return {name: _window(tensor, numbers[tensor.storage.key]) for name, tensor in state.items()}


def _numbers(archive: bytes, position: int, storages: list[_Storage]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The contents of each storage, without a copy."""
    if position + sum(8 + one.count * one.dtype.itemsize for one in storages) != len(archive):
        raise _Broken("its storages have another length than the file")
    for one in storages:
        if int.from_bytes(archive[position : position + 8], "little", signed=True) != one.count:
            raise _Broken(f"storage {one.key} has another length than its tensors say")
        yield one.key, np.frombuffer(archive, one.dtype, one.count, position + 8)
        position += 8 + one.count * one.dtype.itemsize


def _window(tensor: _Tensor, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # as_strided itself checks nothing: it would read the process's memory beyond the storage.
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= len(numbers):
        raise _Broken(f"a tensor reaches beyond storage {tensor.storage.key}")
    size = numbers.itemsize
    return np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :], tensor.shape, [stride * size for stride in tensor.strides], writeable=False
    )


def _unpickle(stream: io.BytesIO) -> Any:
    """The value of the next pickle; see the top of this file."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if number > MOST_OPCODES:
            raise _Broken("one of its pickles is too long")
        if name == "STOP":
            return stack.pop()
        if name == "PROTO":
            continue
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "GLOBAL":
            stack.append(_name(str(argument)))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in _TUPLES:
            values = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(values)))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "SETITEM":
            values = [stack.pop(-2), stack.pop()]
            _set_items(stack[-1], values)
        elif name == "SETITEMS":
            values = since_mark()
            _set_items(stack[-1], values)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in ("APPEND", "APPENDS"):
            values = [stack.pop()] if name == "APPEND" else since_mark()
            if not isinstance(stack[-1], list):
                raise _Broken("one of its pickles appends to what is no list")
            stack[-1] += values
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_reduced(stack.pop(), arguments))
        elif name == "BUILD":
            # The state dict's own attributes, the versions of the layers' classes, are left out.
            stack.pop()
        else:
            raise _Broken(f"a pickle of it has the opcode {name}")
    raise _Broken("one of its pickles has no end")


def _name(text: str) -> _Name:
    if text not in (_ORDERED_DICT, _REBUILD, *_DTYPES):
        raise _Broken(f"it names {text[:60]!r}, which no archive of weights needs")
    return _Name(text)


def _set_items(target: Any, values: list[Any]) -> None:
    """values: a key, its value, the next key, …"""
    if not isinstance(target, dict) or not all(isinstance(key, str) for key in values[::2]):
        raise _Broken("one of its pickles sets items of what is no dict, or under what is no name")
    target.update(zip(values[::2], values[1::2], strict=True))


def _storage(identity: Any) -> _Storage:
    word, kind, key, _, count, view = identity
    if word != "storage" or not isinstance(key, str) or view is not None or not isinstance(kind, _Name):
        raise _Broken("a storage of it is of another kind")
    if not _is_count(count):
        raise _Broken("a storage of it has no length")
    return _Storage(key, _DTYPES[kind.text], count)


def _reduced(callee: Any, arguments: Any) -> Any:
    """What calling one of the two names would give."""
    name = callee.text if isinstance(callee, _Name) else ""
    if name == _ORDERED_DICT and arguments == ():
        return {}
    if name != _REBUILD:
        raise _Broken("one of its pickles calls what is no function")
    storage, offset, shape, strides, *_ = arguments
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS:
        raise _Broken("a tensor of it has no storage or no shape")
    if not all(_is_count(one) for one in (offset, *shape, *strides)):
        raise _Broken("a tensor of it has a shape of no numbers")
    # Strides of 0 would make a large array of a small storage.
    if not 1 <= math.prod(shape) <= storage.count:
        raise _Broken("a tensor of it is larger than its storage, or empty")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_BYTES
