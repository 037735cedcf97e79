"""A place in the line for a decoder."""

from __future__ import annotations

import threading

from imagequeue.web.decoding.decoder import Decoder


class Place:
    """One request in line for a decoder."""

    __slots__ = ("_bell", "decoder")

    def __init__(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self.decoder: Decoder | None = None

    def give(self, decoder: Decoder | None) -> None:
        self.decoder = decoder
        self._bell.release()

    def wait(self, seconds: float) -> bool:
        return self._bell.acquire(timeout=seconds)
