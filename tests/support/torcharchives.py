"""PyTorch archives of the legacy format, made without PyTorch, with whatever in them that a test wants."""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy.typing as npt

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
_KINDS = {"<f4": "FloatStorage", "<i8": "LongStorage"}


class Storage:
    """count: what the pickle says; of the numbers themselves by default."""

    def __init__(self, numbers: npt.NDArray[Any], key: str, count: int | None = None) -> None:
        self.numbers = numbers
        self.key = key
        self.count = len(numbers) if count is None else count


class Tensor:
    """A view of a storage, as PyTorch pickles it."""

    def __init__(self, storage: Storage, shape: Any, strides: Any, offset: Any = 0, hooks: Any = None) -> None:
        self.storage = storage
        self.rest = (offset, shape, strides, False, OrderedDict() if hooks is None else hooks)

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *self.rest)


def tensor(values: npt.NDArray[Any], key: str) -> Tensor:
    """All numbers of a contiguous array."""
    strides = tuple(stride // values.itemsize for stride in values.strides)
    return Tensor(Storage(values.ravel(), key), values.shape, strides)


def archive(
    state: Any, *, magic: Any = MAGIC, version: Any = 1001, system: Any = SYSTEM, keys: Any = None, tail: bytes = b""
) -> bytes:
    """An archive of a dict of tensors, or of something else; `keys` and `tail` may contradict it."""
    tensors = [one for one in state.values() if isinstance(one, Tensor)] if isinstance(state, Mapping) else []
    storages = {one.storage.key: one.storage for one in tensors}
    stream = io.BytesIO()
    with _torch():
        for part in (magic, version, system, state, sorted(storages) if keys is None else keys):
            _Pickler(stream, protocol=2).dump(part)
    for key in sorted(storages):
        numbers = storages[key].numbers
        stream.write(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return stream.getvalue() + tail


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        kind = getattr(sys.modules["torch"], _KINDS[value.numbers.dtype.str])
        return "storage", kind, value.key, "cpu", value.count, None


@contextmanager
def _torch() -> Iterator[None]:
    """Modules of PyTorch's names, since a pickler looks up what it names."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in _KINDS.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
