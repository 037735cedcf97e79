"""The process that forks decoders, on a system that gives none."""

from __future__ import annotations

import socket
import subprocess
import sys

from imagequeue.web.decoding import spawner

WITHOUT_FORKS = """
import os, sys
from imagequeue.web.decoding import spawner

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
