"""The process that forks decoders: `python -m imagequeue.web.decoding.spawner DESCRIPTOR LIMITS`.

A web process has threads, and forking one that has is not safe; a new interpreter for each decoder would take a tenth
of a second. So each web process starts this one, which has loaded the codecs and nothing else, and asks it for decoders
as it needs them. It ends, and its decoders with it, when the web process does.

A decoder has no descriptor but its connection and can open none: no file and no connection to anywhere. It starts no
process and no program. It may take no more address space than its task is allowed to, whatever the file says of itself,
and no more processor time than the task has.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagequeue import images, openers
from imagequeue.web.decoding import seccomp, tasks, wire

# From the web process: `s`, with the descriptor of a connection: spawn; `k`: kill that process.
ORDER = struct.Struct("<cI")
# The answer: the process's id, or 0 where none can be started.
ANSWER = struct.Struct("<I")
# A decoder's connection.
_CONNECTION = 3
# On top of what a task itself takes: the reply, what is allocated in between, and what the heap keeps of others.
_SLACK_BYTES = 256 * 2**20
# The same for an image, and how often its file is in memory: as received, without its metadata, and twice in a codec.
_IMAGE_SLACK_BYTES, _COPIES = 64 * 2**20, 4


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A web server that drains still needs its decoders; they end with their web process.
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    memory = json.loads(sys.argv[2])["memory"]
    images.preload()
    forbid = seccomp.forbidding()
    # What is loaded is never looked at again, and so stays shared among all decoders.
    gc.freeze()
    children: set[int] = set()
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, ORDER.size, 1)
        if len(order) < ORDER.size:
            break
        # Only here are ended children waited for, so that an id never becomes another process's meanwhile.
        _reap(children)
        kind, pid = ORDER.unpack(order)
        if kind == b"s":
            pid = _spawn(descriptors[0], control, memory, forbid)
            if pid:
                children.add(pid)
            os.close(descriptors[0])
            control.sendall(ANSWER.pack(pid))
        elif pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            children.discard(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _reap(children: set[int]) -> None:
    try:
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            children.discard(pid)
    except ChildProcessError:
        # There is none.
        return


def _spawn(connection: int, control: socket.socket, memory: int, forbid: Callable[[], bool]) -> int:
    """The new decoder's id; 0 where the system gives no process. control: not the decoder's."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid == 0:
        try:
            control.close()
            has = _shut_in(connection, memory, forbid)
            serve(socket.socket(fileno=_CONNECTION), has)
        finally:
            os._exit(0)
    return pid


def _shut_in(connection: int, memory: int, forbid: Callable[[], bool]) -> int:
    """This process keeps one descriptor, and gets no other. Returns how many bytes of address space it has."""
    # Asked for while a file can still be opened.
    has = _address_space()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        # Codecs write their warnings there.
        os.dup2(null, standard)
    os.dup2(connection, _CONNECTION)
    os.closerange(_CONNECTION + 1, max(connection, null, 64) + 1)
    limits = {resource.RLIMIT_NOFILE: _CONNECTION + 1, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if not forbid():
        # It forbids threads, too, but not to root, nor everywhere.
        limits[resource.RLIMIT_NPROC] = 0
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    if not _can_start_threads():
        openers.give_up("HEIC")
    if has:
        resource.setrlimit(resource.RLIMIT_AS, (has + memory + _SLACK_BYTES,) * 2)
    return has


def _can_start_threads() -> bool:
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def _address_space() -> int:
    """Bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def serve(connection: socket.socket, has: int = 0) -> None:
    """One task after another, until the web process hangs up or a large one has been done: what it took is given back
    to the system for certain by ending.

    has: bytes of address space without any task; 0 where that is not known.
    """
    is_large = False
    while not is_large:
        try:
            head, parts = wire.receive(connection)
        except (wire.Broken, OSError):
            return
        is_large = head["may_be_large"]
        _limit_processor_time(head["seconds"])
        if has:
            _limit_memory(has, head, parts)
        reply, content = _done(head, parts)
        del parts
        try:
            wire.send(connection, reply, content)
        except OSError:
            return
        del content


def _done(head: dict[str, Any], parts: list[bytes]) -> tasks.Reply:
    try:
        return tasks.run(head, parts)
    except Exception as error:
        # A mistake of ours; the web process logs it.
        return {"error": "internal", "message": repr(error)[:500]}, []


def _limit_processor_time(seconds: float) -> None:
    """The kernel ends this process, should its web process be too busy to."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit_memory(has: int, head: dict[str, Any], parts: list[bytes]) -> None:
    """An image takes no more than its header said when it was let in, whatever its codec finds in the file."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard
    if head["task"] == "decode":
        allowed = head["needs"] if head["may_be_large"] else tasks.SMALL_BYTES
        soft = min(hard, has + allowed + _IMAGE_SLACK_BYTES + _COPIES * sum(map(len, parts)))
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()
