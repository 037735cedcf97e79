"""GIF: extensions, each a chain of blocks of up to 255 bytes, and images."""

from __future__ import annotations

import re

from imagequeue.errors import BadImage
from imagequeue.formats.essence import Essence

SIGNATURES = (b"GIF87a", b"GIF89a")
# XMP of a megabyte is a chain of 13,000 blocks.
MAX_BLOCKS = 20_000

_SCREEN_BYTES = 13
_EXTENSION, _IMAGE, _CONTROL = b"!", b",", b"\xf9"
_BLOCK = re.compile(b"[!,;]")


def essence(file: bytes) -> Essence:
    """The file from its first image on, with the palette and the one extension that says which colour is transparent.

    Raises BadImage for more blocks before the image than are taken.
    """
    head_bytes = _SCREEN_BYTES
    if len(file) > _SCREEN_BYTES and file[10] & 0x80:
        head_bytes += 3 << ((file[10] & 7) + 1)
    at, blocks, control = head_bytes, 0, b""
    # Some encoders leave an empty block or two between.
    while (found := _BLOCK.search(file, at)) and found[0] == _EXTENSION:
        start = found.start()
        at = start + 2
        while at < len(file) and file[at] and blocks < MAX_BLOCKS:
            at += 1 + file[at]
            blocks += 1
        at += 1
        if file[start + 1 : start + 2] == _CONTROL and at - start == 8:
            control = file[start:at]
        # An extension without a block counts, too.
        blocks += 1
        if blocks > MAX_BLOCKS:
            raise BadImage(f"The GIF has more than {MAX_BLOCKS} blocks before its image.")
    if found is None or found[0] != _IMAGE:
        raise BadImage("The GIF has no image.")
    at = found.start()
    if at == head_bytes + len(control):
        return Essence(file, "GIF")
    return Essence(b"".join((file[:head_bytes], control, memoryview(file)[at:])), "GIF")
