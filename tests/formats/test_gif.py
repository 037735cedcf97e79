"""Of a GIF the extensions before its first image are left out, but for the one that says what is transparent."""

from __future__ import annotations

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats import gif
from tests.support.hostile import colours
from tests.support.pictures import encode

# Without the extension that Pillow writes for a loop.
PLAIN = encode(colours(mode="P"), "GIF")
# Behind the screen and its palette.
START = 13 + (3 << ((PLAIN[10] & 7) + 1))
CONTROL = b"!\xf9\x04\x01\0\0\x07\0"


def with_blocks(blocks: bytes) -> bytes:
    return PLAIN[:START] + blocks + PLAIN[START:]


def test_a_file_without_extensions_is_not_copied() -> None:
    assert PLAIN[START : START + 1] == b","
    assert gif.essence(PLAIN).file is PLAIN


def test_comments_and_applications_are_left_out() -> None:
    blocks = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + b"!\xfe\x05hello\x02yo\0" + b"!\xfe\0" + b"\0\0"
    assert gif.essence(with_blocks(blocks)).file == PLAIN


def test_the_last_control_of_the_first_image_is_kept() -> None:
    assert gif.essence(with_blocks(b"!\xf9\x04\0\0\0\0\0!\xfe\x01x\0" + CONTROL)).file == with_blocks(CONTROL)


@pytest.mark.parametrize("blocks", [b"!\xfe" + b"\x01x" * gif.MAX_BLOCKS + b"\0", b"!\xf9\0" * (gif.MAX_BLOCKS + 1)])
def test_more_blocks_than_the_bound_are_refused(blocks: bytes) -> None:
    with pytest.raises(BadImage, match="more than 20000 blocks before its image"):
        gif.essence(with_blocks(blocks))
    assert gif.essence(with_blocks(b"!\xfe" + b"\x01x" * 10_000 + b"\0")).file == PLAIN


@pytest.mark.parametrize("file", [b"GIF89a", PLAIN[:START], PLAIN[:START] + b";", PLAIN[:START] + b"!\xfe\xff"])
def test_a_file_without_an_image_is_refused(file: bytes) -> None:
    with pytest.raises(BadImage, match="no image"):
        gif.essence(file)
