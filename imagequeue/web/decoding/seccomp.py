"""No new processes, but threads: a filter of system calls (seccomp(2), Linux), for the process that asks for it.

RLIMIT_NPROC forbids both alike, and does not bind root. The decoder of HEIC, libde265, cannot do without one thread of
its own for each picture. So where the kernel has filters, one of them lets `clone` start threads and nothing else, and
no program; whoever is shut in by it stays so.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Machine:
    """Numbers of the kernel for one kind of machine. forbidden: fork, vfork, execve, execveat."""

    audit: int
    clone: int
    clone3: int
    forbidden: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 56, 435, (57, 58, 59, 322)),
    "aarch64": _Machine(0xC00000B7, 220, 435, (221, 281)),
}
_CLONE_THREAD = 0x10000
# Calls of x86-64's other table, which has numbers of its own, begin there.
_X32 = 0x40000000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
# BPF: load a word, return a constant, and compare with one.
_LOAD, _RETURN, _IS, _AT_LEAST, _HAS = 0x20, 0x06, 0x15, 0x35, 0x45
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
# Places in what the filter is given: the call's number, the machine, and the lower half of the first argument.
_NUMBER, _AUDIT, _ARGUMENT = 0, 4, 16


def is_available() -> bool:
    """Whether this machine and its kernel have such filters, and this process may set one. It sets none."""
    if _machine() is None:
        return False
    zero = ctypes.c_ulong(0)
    # seccomp(2): EFAULT for a filter that is nowhere, another error where there are no filters.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), None, zero, zero)
    return ctypes.get_errno() == errno.EFAULT


def _machine() -> _Machine | None:
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return None
    return _MACHINES.get(platform.machine())


def forbidding() -> Callable[[], bool]:
    """What forbids this process and those that it forks to start processes and programs, and returns whether it could.

    All that it needs is loaded now, so that it works where nothing can be opened any more.
    """
    machine = _machine()
    if machine is None:
        return lambda: False
    program = _program(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def forbid() -> bool:
        # struct sock_fprog: how many instructions, and where they are.
        listed = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
        zero = ctypes.c_ulong(0)
        if prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
            return False
        return bool(prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.c_char_p(listed), zero, zero) == 0)

    return forbid


def _program(machine: _Machine) -> bytes:
    """Instructions of 8 bytes: the operation, how many to skip if it is so and if not, and a number."""
    no, no_such = _REFUSE | errno.EPERM, _REFUSE | errno.ENOSYS
    lines = [
        (_LOAD, 0, 0, _AUDIT),
        (_IS, 1, 0, machine.audit),
        (_RETURN, 0, 0, no),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, no),
        # Its flags are where no filter can look; without it the C library calls the older one.
        (_IS, 0, 1, machine.clone3),
        (_RETURN, 0, 0, no_such),
    ]
    for number in machine.forbidden:
        lines += [(_IS, 0, 1, number), (_RETURN, 0, 0, no)]
    lines += [
        (_IS, 1, 0, machine.clone),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _ARGUMENT),
        (_HAS, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, no),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
