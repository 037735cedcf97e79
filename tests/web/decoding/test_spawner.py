"""The process that forks decoders, on a system that gives none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from imagequeue.web.decoding import spawner, tasks, wire
from imagequeue.web.decoding.decoder import _environment

WITHOUT_FORKS = """
import os, sys
from imagequeue.web.decoding import spawner, tasks, wire
from imagequeue.web.decoding.decoder import _environment

def fork():
    raise BlockingIOError("no process")

os.fork = fork
spawner.main()
"""


def test_a_fork_that_fails_is_said_and_harms_nobody() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    # A group of its own: a signal to process 0 would reach all of it, and this one first.
    spawning = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_FORKS, str(theirs.fileno()), '{"memory": 100000000}'],
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    theirs.close()
    connection, other = socket.socketpair()
    with connection, other:
        for _ in range(2):
            socket.send_fds(ours, [spawner.ORDER.pack(b"s", 0)], [connection.fileno()])
            assert spawner.ANSWER.unpack(ours.recv(spawner.ANSWER.size)) == (0,)
    ours.close()
    assert spawning.wait(20) == 0


HUNGRY = """
from imagequeue.web.decoding import spawner, tasks

def decode(head, parts):
    return {"took": len(bytearray(head["takes"]))}, []

tasks.TASKS = {"decode": decode}
spawner.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is read from Linux's /proc")
def test_an_image_takes_no_more_memory_than_it_was_let_in_with() -> None:
    ours, theirs = socket.socketpair()
    connection, other = socket.socketpair()
    connection.settimeout(20)
    spawning = subprocess.Popen(
        [sys.executable, "-c", HUNGRY, str(theirs.fileno()), json.dumps({"memory": 900 * 2**20})],
        pass_fds=[theirs.fileno()],
        start_new_session=True,
        env={**os.environ, **_environment()},
    )
    theirs.close()
    with ours, connection:
        socket.send_fds(ours, [spawner.ORDER.pack(b"s", 0)], [other.fileno()])
        other.close()
        assert spawner.ANSWER.unpack(ours.recv(spawner.ANSWER.size)) != (0,)

        def takes(mebibytes: int, **allowed: object) -> dict[str, object]:
            task = {"task": "decode", "seconds": 20, "takes": mebibytes * 2**20}
            wire.send(connection, {**task, **allowed}, [b"a file"])
            return wire.receive(connection)[0]

        small = {"may_be_large": False}
        assert takes(tasks.SMALL_BYTES // 2**20, **small) == {"took": tasks.SMALL_BYTES}
        refused = takes(2 * tasks.SMALL_BYTES // 2**20, **small)
        assert refused["error"] == "too_large"
        assert takes(100, **small)["took"]
        # More than a small one, and more than it said.
        assert takes(600, may_be_large=True, needs=400 * 2**20)["error"] == "too_large"
    assert spawning.wait(20) == 0
