"""The decoders of one web process: which request has one, which waits, and when a decoder is ended.

Everything that waits here ends at the request's deadline, or when its client hangs up, and a decoder that is at work
then is ended with it: what the file does to it is nobody else's business. Large images and documents take turns among
themselves and leave one decoder to small ones, which never wait longer than a small one takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from imagequeue.errors import (
    BadImage,
    BadRequest,
    ClientGone,
    DeadlineExceeded,
    ImageQueueError,
    ServerBusy,
    TooLarge,
    Unsupported,
)
from imagequeue.events import fail, log, warn
from imagequeue.web.decoding import wire
from imagequeue.web.decoding.decoder import SPAWN_SECONDS, Decoder, DecoderDied, HadEnded, Spawner
from imagequeue.web.decoding.largetasks import LargeTasks
from imagequeue.web.decoding.place import Place
from imagequeue.web.decoding.tasks import BYTES_PER_JSON_BYTE, BYTES_PER_PIXEL
from imagequeue.web.decoding.turn import LOOK_SECONDS, Turn, past_deadline

# A file that ends this many decoders is refused: one end may be an operator's or the kernel's doing.
MOST_DEATHS = 2
# Seconds between two attempts to start decoders where the last one failed.
RETRY_SECONDS = 1.0
# What image files made of tensors have on top of their numbers.
_SLACK_BYTES = 64 * 1024

_REFUSALS: Mapping[str, type[ImageQueueError]] = {
    error.code: error for error in (BadImage, BadRequest, TooLarge, Unsupported)
}


class DecoderPool:
    """Start it after the fork. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        decoders: int,
        image_size: tuple[int, int],
        max_upload_bytes: int,
        max_image_pixels: int,
        is_fast: bool = False,
    ) -> None:
        """decoders: processes, two at least; with one, large tasks and small ones share it.

        image_size: (width, height) of the pixels that `decode` gives. max_upload_bytes, max_image_pixels, is_fast: see
        images.decode.
        """
        self.size = decoders
        self.max_upload_bytes = max_upload_bytes
        self._image = {
            "task": "decode",
            "size": image_size,
            "max_bytes": max_upload_bytes,
            "max_pixels": max_image_pixels,
            "is_fast": is_fast,
        }
        self._image_bytes = image_size[0] * image_size[1] * 3
        self._large_bytes = max(max_image_pixels * BYTES_PER_PIXEL, 2 * max_upload_bytes * BYTES_PER_JSON_BYTE)
        self._spawner = Spawner(memory=self._large_bytes)
        # The one used last is taken first: its caches are warm. None: to be started by whoever takes it.
        self._idle: list[Decoder | None] = [None] * decoders
        self._waiting: deque[Place] = deque()
        self._lock = threading.Lock()
        self._large = LargeTasks(most=max(1, decoders - 1), most_bytes=self._large_bytes)
        self._is_started = False
        self._trouble = ""
        self._next_try = 0.0

    def start(self) -> None:
        """Start the decoders behind the caller's back, so that no request has to wait for it."""
        threading.Thread(target=self._start_all, name="decoders", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """Decoders have been started, and the last one that was to be could be; where not, it is tried again."""
        if self._is_started and not self._trouble:
            return True
        with self._lock:
            is_time = time.monotonic() >= self._next_try
            if is_time:
                self._next_try = time.monotonic() + RETRY_SECONDS
        if is_time:
            self.start()
        return False

    def stop(self) -> None:
        self._spawner.stop()

    def decode(self, upload: bytes, turn: Turn) -> bytes:
        """An image file as pixels; see images.decode.

        Raises TooLarge, BadImage, DeadlineExceeded, ClientGone, ServerBusy.
        """
        try:
            _, (pixels,) = self._done(self._image, upload, turn, most=self._image_bytes)
        except _Crashed:
            raise BadImage("The image ends the process that decodes it.") from None
        if len(pixels) != self._image_bytes:
            raise BadImage("The image cannot be decoded.")
        return pixels

    def read(
        self,
        format: str,
        body: bytes,
        turn: Turn,
        *,
        limit: int,
        packing: str,
        header_length: str | None = None,
        hold: Callable[[int], object] = lambda size: None,
    ) -> tuple[dict[str, Any], list[bytes]]:
        """What a JSON body asks for, and its image files; see documents.

        limit: bytes of the body once it is unpacked. packing: see packing. hold: called with how many bytes the files
        have, before they are here; what it raises is raised.

        Raises BadRequest, TooLarge, DeadlineExceeded, ClientGone, ServerBusy.
        """
        head = {
            "task": "read",
            "format": format,
            "limit": limit,
            "packing": packing,
            "header_length": header_length,
        }
        try:
            reply, files = self._done(head, body, turn, most=limit + _SLACK_BYTES, hold=hold)
        except _Crashed:
            raise BadRequest("The body ends the process that reads it.") from None
        return reply["wanted"], files

    def unpack(
        self, body: bytes, turn: Turn, *, limit: int, packing: str, hold: Callable[[int], object] = lambda size: None
    ) -> bytes:
        """A gzip or deflate body, unpacked. Arguments and errors: see `read`."""
        try:
            _, (unpacked,) = self._done(
                {"task": "unpack", "limit": limit, "packing": packing}, body, turn, most=limit, hold=hold
            )
        except _Crashed:
            raise BadRequest("The body ends the process that unpacks it.") from None
        return unpacked

    def _done(
        self,
        head: dict[str, Any],
        content: bytes,
        turn: Turn,
        *,
        most: int,
        hold: Callable[[int], object] = lambda size: None,
    ) -> tuple[dict[str, Any], list[bytes]]:
        """most: bytes that a reply may have."""

        def accept(reply: dict[str, Any], size: int) -> None:
            if size > most:
                raise wire.Broken(f"{size} bytes, where {most} are expected")
            if size:
                hold(size)

        reply, parts = self._asked(head | {"may_be_large": False}, content, turn, accept)
        if "needs" in reply:
            with self._large.turn_of(needs := min(int(reply["needs"]), self._large_bytes), turn):
                reply, parts = self._asked(head | {"may_be_large": True, "needs": needs}, content, turn, accept)
        if "error" in reply:
            raise self._refusal(reply)
        return reply, parts

    def _asked(
        self,
        head: dict[str, Any],
        content: bytes,
        turn: Turn,
        accept: Callable[[dict[str, Any], int], object],
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Raises _Crashed where the content has ended MOST_DEATHS decoders."""
        deaths = 0
        while deaths < MOST_DEATHS:
            decoder = self._take(turn)
            kept: Decoder | None = None
            try:
                asked = decoder.ask(head, [content], turn=turn, accept=accept)
                kept = None if head["may_be_large"] else decoder
                return asked
            except HadEnded as ended:
                warn("decoder_died", pid=decoder.pid, reason=str(ended))
            except DecoderDied as died:
                deaths += 1
                warn("decoder_died", pid=decoder.pid, reason=str(died))
            except (DeadlineExceeded, ClientGone) as error:
                log("decoder_ended", pid=decoder.pid, reason=error.code)
                raise
            finally:
                if kept is None:
                    decoder.end()
                self._give_back(kept)
        raise _Crashed

    def _refusal(self, reply: Mapping[str, Any]) -> ImageQueueError:
        code, message = str(reply["error"]), str(reply.get("message", ""))
        if code not in _REFUSALS:
            fail("decoder_broke", reason=message)
            return ImageQueueError("Something broke while the image was read.")
        return _REFUSALS[code](message)

    def _take(self, turn: Turn) -> Decoder:
        """A decoder of the caller's own; waits until there is one. Raises DeadlineExceeded, ClientGone, ServerBusy."""
        if time.monotonic() >= turn.until:
            raise past_deadline()
        with self._lock:
            place = None
            if self._idle:
                decoder = self._idle.pop()
            else:
                place = Place()
                self._waiting.append(place)
        if place is not None:
            decoder = self._waited(place, turn)
        if decoder is not None:
            return decoder
        try:
            return self._spawn(turn.until)
        except BaseException:
            self._give_back(None)
            raise

    def _spawn(self, until: float) -> Decoder:
        """Raises ServerBusy, DeadlineExceeded."""
        try:
            decoder = self._spawner.spawn(until)
        except OSError as error:
            self._trouble = str(error)
            warn("decoder_not_started", reason=self._trouble)
            raise ServerBusy("This server cannot start the process that decodes images.") from error
        self._is_started, self._trouble = True, ""
        return decoder

    def _start_all(self) -> None:
        for _ in range(len(self._idle)):
            try:
                decoder = self._spawn(time.monotonic() + SPAWN_SECONDS)
            except ImageQueueError:
                # It is tried again for the next request, or probe.
                return
            with self._lock:
                if is_wanted := None in self._idle:
                    self._idle[self._idle.index(None)] = decoder
            if not is_wanted:
                decoder.end()

    def _waited(self, place: Place, turn: Turn) -> Decoder | None:
        while not place.wait(turn.look_seconds):
            try:
                turn.check()
            except ImageQueueError:
                with self._lock:
                    if place in self._waiting:
                        self._waiting.remove(place)
                        raise
                # A decoder came in this very moment; it is somebody else's now.
                place.wait(LOOK_SECONDS)
                self._give_back(place.decoder)
                raise
        return place.decoder

    def _give_back(self, decoder: Decoder | None) -> None:
        """None: one that has ended; whoever takes its place starts another."""
        with self._lock:
            if self._waiting:
                place: Place | None = self._waiting.popleft()
            else:
                place = None
                self._idle.append(decoder)
        if place is not None:
            place.give(decoder)


class _Crashed(Exception):
    """The content has ended as many decoders as it may."""


def decoders_for(processors: int, web_processes: int) -> int:
    """How many decoders each web process has: the processors shared out, and one more, which large tasks leave free."""
    return max(2, -(-processors // web_processes) + 1)
