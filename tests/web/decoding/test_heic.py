"""Decoders of an ordinary user decode every format, although they can start no process, and HEIC takes a thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imagequeue.web.decoding import spawner, wire
from imagequeue.web.decoding.decoder import _environment
from tests.support.hostile import colours
from tests.support.pictures import HAS_HEIC, encode
from tests.support.system import ROOT

# As another user, where this one is root: no limit of processes binds root. In a decoder, forking is what HEIC's
# name is taken for.
AS_NOBODY = """
import os, sys
from imagequeue import images
from imagequeue.web.decoding import seccomp, spawner, tasks

# While this user may still read what is loaded.
images.preload()

if {is_old_kernel}:
    seccomp.forbidding = lambda: lambda: False

def start_process(head, parts):
    try:
        return {{"pid": os.fork()}}, []
    except OSError as error:
        return {{"pid": 0, "reason": str(error)}}, []

tasks.TASKS = {{**tasks.TASKS, "fork": start_process}}
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
spawner.main()
"""
IMAGE = {"task": "decode", "size": (8, 8), "max_bytes": 2**20, "max_pixels": 10**6, "is_fast": False}
TURN = {"may_be_large": False, "seconds": 20}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no limit keeps threads from starting")


@contextmanager
def decoder(*, is_old_kernel: bool = False) -> Iterator[socket.socket]:
    """The connection to one that belongs to nobody. is_old_kernel: without filters of system calls."""
    ours, theirs = socket.socketpair()
    connection, other = socket.socketpair()
    for end in (ours, connection):
        end.settimeout(20)
    spawning = subprocess.Popen(
        [
            sys.executable,
            "-c",
            AS_NOBODY.format(is_old_kernel=is_old_kernel),
            str(theirs.fileno()),
            json.dumps({"memory": 100_000_000}),
        ],
        cwd=ROOT,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
        env={**os.environ, **_environment()},
    )
    theirs.close()
    try:
        with connection:
            socket.send_fds(ours, [spawner.ORDER.pack(b"s", 0)], [other.fileno()])
            other.close()
            assert spawner.ANSWER.unpack(ours.recv(spawner.ANSWER.size)) != (0,)
            yield connection
    finally:
        ours.close()
        assert spawning.wait(20) == 0


def asked(connection: socket.socket, head: dict[str, object], *parts: bytes) -> tuple[dict[str, object], list[bytes]]:
    wire.send(connection, {**head, **TURN}, parts)
    return wire.receive(connection)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "HEIC"])
def test_a_decoder_of_an_ordinary_user_decodes_it(format: str) -> None:
    upload = encode(colours((600, 400)), format)
    with decoder() as connection:
        reply, parts = asked(connection, IMAGE, upload)
    assert (reply, len(parts[0])) == ({}, 8 * 8 * 3)


def test_heic_of_tiles_is_decoded_by_one_thread_after_the_other() -> None:
    upload = encode(colours((600, 400)), "HEIC", tile_size=128)
    with decoder() as connection:
        reply, _ = asked(connection, IMAGE, upload)
    assert reply == {}


@pytest.mark.parametrize("is_old_kernel", [False, True])
def test_no_decoder_can_start_a_process(is_old_kernel: bool) -> None:
    with decoder(is_old_kernel=is_old_kernel) as connection:
        reply, _ = asked(connection, {"task": "fork"})
    assert reply["pid"] == 0
    assert os.strerror(1) in str(reply["reason"]) or os.strerror(11) in str(reply["reason"])


def test_where_threads_are_forbidden_heic_is_refused_by_its_name_and_all_else_is_read() -> None:
    with decoder(is_old_kernel=True) as connection:
        assert asked(connection, IMAGE, encode(colours(), "AVIF"))[0] == {}
        assert asked(connection, IMAGE, encode(colours(), "TIFF", compression="tiff_lzw"))[0] == {}
        if HAS_HEIC:
            reply, _ = asked(connection, IMAGE, encode(colours(), "HEIC"))
            assert reply["error"] == "bad_image"
            assert str(reply["message"]).startswith("HEIC is not read by this server; send JPEG, PNG, WebP")
