"""Archives of PyTorch: their numbers are read, and whatever else they hold is refused and not run."""

from __future__ import annotations

import builtins
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue import torcharchive
from imagequeue.errors import ConfigurationError
from tests.support.torcharchives import MAGIC, SYSTEM, Storage, Tensor, archive, tensor

NUMBERS = np.arange(24, dtype=np.float32)


def state(**more: Any) -> OrderedDict[str, Any]:
    return OrderedDict(
        {"weight": tensor(NUMBERS.reshape(2, 3, 4), "7"), "count": tensor(np.array([5], np.int64), "8")} | more
    )


def read(tmp_path: Path, content: bytes) -> torcharchive.Tensors:
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    return torcharchive.read(file)


# What is read.


def test_tensors_come_back_with_their_names_types_and_numbers(tmp_path: Path) -> None:
    tensors = read(tmp_path, archive(state()))
    assert list(tensors) == ["weight", "count"]
    assert (tensors["weight"].dtype, tensors["count"].dtype) == (np.float32, np.int64)
    assert np.array_equal(tensors["weight"], NUMBERS.reshape(2, 3, 4))
    assert tensors["count"].tolist() == [5]


def test_a_tensor_may_be_a_turned_part_of_a_storage_that_others_use_too(tmp_path: Path) -> None:
    storage = Storage(NUMBERS, "7")
    parts = {"turned": Tensor(storage, (4, 3), (1, 4), offset=12), "scalar": Tensor(storage, (), (), offset=23)}
    tensors = read(tmp_path, archive(parts))
    assert np.array_equal(tensors["turned"], NUMBERS[12:].reshape(3, 4).T)
    assert tensors["scalar"] == 23


def test_the_attributes_of_a_state_dict_are_passed_over(tmp_path: Path) -> None:
    class State(OrderedDict[str, Any]):
        def __reduce__(self) -> Any:
            return OrderedDict, (), {"_metadata": OrderedDict({"": {"version": 1}})}, None, iter(self.items())

    assert list(read(tmp_path, archive(State(state())))) == ["weight", "count"]


# What is refused.


class Calls:
    """Pickled as a call of that function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hostile(ran: Path) -> dict[str, Any]:
    """Objects whose unpickling makes the file `ran`."""
    return {
        "os.system": Calls(os.system, f"touch {ran}"),
        "eval": Calls(builtins.eval, f"open({str(ran)!r}, 'w')"),
        "exec": Calls(builtins.exec, f"open({str(ran)!r}, 'w')"),
        "open": Calls(open, str(ran), "w"),
        "getattr": Calls(getattr, Calls(open, str(ran), "w"), "name"),
    }


@pytest.mark.parametrize("what", list(hostile(Path("ran"))))
def test_what_an_archive_calls_is_not_run_wherever_it_stands(tmp_path: Path, what: str) -> None:
    ran = tmp_path / "ran"
    call = hostile(ran)[what]
    pickle.loads(pickle.dumps(call, 2))
    assert ran.exists(), "Python's own unpickler runs it"
    ran.unlink()
    places = [
        archive(call),
        archive(state(bad=call)),
        archive(state(), magic=call),
        archive(state(), version=call),
        archive(state(), system={**SYSTEM, "little_endian": call}),
        archive(state(), keys=["7", call]),
        archive({"weight": Tensor(Storage(NUMBERS, "7"), (24,), (1,), hooks=call)}),
        archive({"weight": Tensor(Storage(NUMBERS, "7"), (call,), (1,))}),
    ]
    for content in places:
        with pytest.raises(ConfigurationError, match="which no archive of weights needs"):
            read(tmp_path, content)
    assert not ran.exists()


def first(pickled: bytes) -> bytes:
    """An archive whose state dict is this pickle."""
    return b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001, SYSTEM)) + pickled + pickle.dumps([], 2)


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "which no archive"),
        (b"\x80\x02ctorch\nFloatStorage.__class__\n.", "which no archive"),
        (b"\x80\x02c__main__\nOrderedDict\n.", "which no archive"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "opcode SHORT_BINUNICODE"),
        (b"\x80\x02X\x02\0\0\0osX\x06\0\0\0system\x93.", "opcode STACK_GLOBAL"),
        (b"\x80\x02(S'true'\nios\nsystem\n.", "opcode STRING"),
        (b"\x80\x02(ios\nsystem\n.", "opcode INST"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode NEWOBJ"),
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "calls what is no function"),
        (b"\x80\x02K\x01)R.", "calls what is no function"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls what is no function"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "no archive"),
        (b"\x80\x02K\x01Q.", "no archive"),
        (b"\x80\x02.", "no archive"),
        (b"\x80\x02t.", "no archive"),
        (b"\x80\x02h\x05.", "no archive"),
        (b"\x80\x02K\x01K\x02K\x03s.", "items of what is no dict"),
        (b"\x80\x02}K\x01K\x02s.", "under what is no name"),
        (b"\x80\x02}(K\x01e.", "appends to what is no list"),
        (b"\x80\x02)K\x01a.", "appends to what is no list"),
        # Python's own unpickler makes room for so many entries of its memo.
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "other things than named tensors"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "no archive"),
        (b"\x80\x02\x8b\xff\xff\xff\x7fabc.", "no archive"),
        (b"\x80\x02" + b"N" * (torcharchive.MOST_OPCODES + 5) + b".", "too long"),
        # Nested so deep that hashing or comparing it ends the process.
        (b"\x80\x02})" + b"\x85" * 80_000 + b"K\x01s.", "under what is no name"),
        (b"\x80\x02)" + b"\x85" * 80_000 + b".", "other things than named tensors"),
    ],
)
def test_a_pickle_that_no_archive_needs_is_refused(tmp_path: Path, pickled: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, first(pickled))


HUGE = 1 << 62


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Tensor(Storage(NUMBERS, "9"), (25,), (1,)), "larger than its storage"),
        (Tensor(Storage(NUMBERS, "9"), (24,), (1,), offset=1), "reaches beyond"),
        (Tensor(Storage(NUMBERS, "9"), (2,), (24,)), "reaches beyond"),
        (Tensor(Storage(NUMBERS, "9"), (24, 24), (0, 1)), "larger than its storage"),
        (Tensor(Storage(NUMBERS, "9"), (0,), (1,)), "or empty"),
        (Tensor(Storage(NUMBERS, "9"), (3,), (-1,), offset=2), "a shape of no numbers"),
        (Tensor(Storage(NUMBERS, "9"), (3,), (1,), offset=-1), "a shape of no numbers"),
        (Tensor(Storage(NUMBERS, "9"), (HUGE, HUGE), (1, 1)), "a shape of no numbers"),
        (Tensor(Storage(NUMBERS, "9"), (3,), (1, 1)), "no storage or no shape"),
        (Tensor(Storage(NUMBERS, "9"), (1,) * 9, (1,) * 9), "no storage or no shape"),
        (Tensor(Storage(NUMBERS, "9"), (True,), (1,)), "a shape of no numbers"),
        (Tensor(Storage(NUMBERS, "9"), (2.0,), (1,)), "opcode BINFLOAT"),
        (Tensor(Storage(NUMBERS, "9"), "3", (1,)), "a shape of no numbers"),
        (Tensor(Storage(NUMBERS, "9", count=25), (24,), (1,)), "another length than the file"),
        (Tensor(Storage(NUMBERS, "9", count=HUGE), (24,), (1,)), "has no length"),
        (Tensor(Storage(NUMBERS, "9", count=-1), (24,), (1,)), "has no length"),
        (Tensor(Storage(NUMBERS, "7", count=23), (23,), (1,)), "has two forms"),
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(tmp_path: Path, bad: Tensor, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, archive(state(bad=bad)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive(state(), magic=MAGIC + 1), "first numbers are others"),
        (archive(state(), version=1002), "first numbers are others"),
        (archive(state(), system={**SYSTEM, "little_endian": False}), "big-endian"),
        (archive(state(), system={}), "no archive"),
        (archive([1]), "other things than named tensors"),
        (archive({"weight": 1}), "other things than named tensors"),
        (archive(state(), keys=["7"]), "list of storages"),
        (archive(state(), keys=["7", "8", "8"]), "list of storages"),
        (archive(state(), keys={"7": 1}), "list of storages"),
        (archive(state(), keys=[7, 8]), "list of storages"),
        (archive(state(), keys=["8", "7"]), "another length than its tensors say"),
        (archive(state(), tail=b"\0"), "another length than the file"),
        (b"", "no archive"),
        (b"PK\x03\x04 a newer archive is a zip", "no archive"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, content)


def test_an_archive_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = archive(state())
    for length in range(len(whole)):
        with pytest.raises(ConfigurationError, match="no archive"):
            read(tmp_path, whole[:length])


def test_a_file_of_a_terabyte_is_refused_without_being_read(tmp_path: Path) -> None:
    file = tmp_path / "large.pth"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ConfigurationError, match="more than"):
        torcharchive.read(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.pth cannot be read: No such file"):
        torcharchive.read(tmp_path / "none.pth")


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_an_archive_with_other_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(archive(state()))
    for place, value in changes:
        content[place % len(content)] = value
    file = tmp_path_factory.getbasetemp() / "mutated.pth"
    file.write_bytes(content)
    try:
        tensors = torcharchive.read(file)
    except ConfigurationError:
        return
    assert all(one.dtype in (np.float32, np.int64) for one in tensors.values())
