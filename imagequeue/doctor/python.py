"""The Python that runs this: TensorFlow has packages for some only. scripts/make_venv.sh chooses by the same rules."""

from __future__ import annotations

import struct
import sys
import sysconfig
from dataclasses import dataclass

from imagequeue.doctor.check import Check, failed, ok

OLDEST, NEWEST = (3, 10), (3, 13)


@dataclass(frozen=True)
class Interpreter:
    """version: (3, 13, 1). bits: of a pointer."""

    version: tuple[int, ...]
    executable: str
    implementation: str = "cpython"
    bits: int = 64
    has_gil: bool = True


def this_interpreter() -> Interpreter:
    return Interpreter(
        version=tuple(sys.version_info[:3]),
        executable=sys.executable,
        implementation=sys.implementation.name,
        bits=8 * struct.calcsize("P"),
        has_gil=not sysconfig.get_config_var("Py_GIL_DISABLED"),
    )


def check(python: Interpreter) -> Check:
    found = f"{'.'.join(map(str, python.version))} ({python.executable})"
    if python.version[:2] < OLDEST:
        reason = "too old"
    elif python.version[:2] > NEWEST:
        reason = "too new: TensorFlow has no package for it yet"
    elif python.implementation != "cpython" or python.bits != 64:
        reason = "TensorFlow has packages for CPython of 64 bits only"
    elif not python.has_gil:
        reason = "without the GIL: TensorFlow has no package for it"
    else:
        return ok("python", found)
    return failed("python", f"{found}: {reason}", "make clean serve takes the newest of 3.10 to 3.13 that is installed")
