"""A pool of decoders that a test can watch: which processes it has, and what one image becomes."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from imagequeue.web.decoding import documents
from imagequeue.web.decoding import packing as packing_module
from imagequeue.web.decoding.pool import DecoderPool
from imagequeue.web.decoding.turn import Turn

SIZE = (8, 8)
MAX_BYTES, MAX_PIXELS = 2 * 2**20, 20_000_000


class Pool(DecoderPool):
    """Its processes start when they are needed; `stop` ends them."""

    def __init__(self, decoders: int = 2) -> None:
        super().__init__(decoders=decoders, image_size=SIZE, max_upload_bytes=MAX_BYTES, max_image_pixels=MAX_PIXELS)

    def pixels(self, upload: bytes, seconds: float = 30.0, client: socket.socket | None = None) -> bytes:
        return self.decode(upload, turn(seconds, client))

    def document(self, format: str, body: bytes, seconds: float = 30.0, **more: Any) -> tuple[dict[str, Any], Any]:
        return self.read(format, body, turn(seconds), **{"limit": MAX_BYTES, "packing": "", **more})

    @property
    def spawner(self) -> int:
        """The id of the process that forks decoders."""
        assert self._spawner._process is not None
        return self._spawner._process.pid

    def decoders(self) -> list[int]:
        """The ids of those that live."""
        if self._spawner._process is None:
            return []
        return [pid for pid in children(self.spawner) if state(pid) != "Z"]

    def has_taken(self, pid: int) -> bool:
        """That decoder is somebody's."""
        return all(idle is None or idle.pid != pid for idle in list(self._idle))

    def freeze(self) -> list[int]:
        """Every decoder there is stops where it is."""
        pids = self.decoders()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids


def turn(seconds: float, client: socket.socket | None = None) -> Turn:
    return Turn(time.monotonic() + seconds, client)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid: int) -> str:
    """As the kernel has it: R, S, T, Z; empty for a process that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class InlineReader:
    """Reads bodies where it is; in place of a BodyReader where no process is wanted."""

    def document(
        self, format: str, body: bytes, *, limit: int, packing: str, header_length: str | None = None
    ) -> documents.Document:
        return documents.read(format, packing_module.unpacked(body, packing, limit), header_length)

    def unpacked(self, body: bytes, *, limit: int, packing: str) -> bytes:
        return packing_module.unpacked(body, packing, limit)
