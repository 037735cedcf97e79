"""Of a JPEG 2000 what a decoder takes memory for is counted, and boxes that tell other things are left out."""

from __future__ import annotations

import struct

import pytest

from imagequeue.errors import BadImage, TooLarge
from imagequeue.formats import jp2
from tests.support.hostile import colours, jp2_components
from tests.support.isobmff import box
from tests.support.pictures import encode

FILE, STREAM = encode(colours(), "JPEG2000"), encode(colours(), "JPEG2000", no_jp2=True)
# Where the codestream's size is: right, bottom, left, top, and the same of a tile.
SIZES = STREAM.index(jp2.CODESTREAM) + 8


def with_numbers(at: int, *numbers: int) -> bytes:
    return STREAM[:at] + struct.pack(f">{len(numbers)}I", *numbers) + STREAM[at + 4 * len(numbers) :]


@pytest.mark.parametrize(("mode", "cost"), [("L", 10), ("LA", 18), ("RGB", 24), ("RGBA", 30)])
def test_the_size_is_known_and_the_cost_depends_on_the_components(mode: str, cost: int) -> None:
    for options in ({}, {"no_jp2": True}):
        essence = jp2.essence(encode(colours(mode=mode), "JPEG2000", **options))
        assert (essence.size, essence.bytes_per_pixel) == ((48, 32), cost)


def test_boxes_that_pixels_do_not_depend_on_are_left_out() -> None:
    secret = box(b"xml ", b"secret")
    at = FILE.index(b"jp2c") - 4
    head = FILE.index(b"jp2h") - 4
    for file in (FILE[:at] + secret + FILE[at:], FILE[:head] + secret + FILE[head:], FILE + secret):
        assert b"secret" not in jp2.essence(file).file


def test_more_tiles_components_layers_and_markers_than_are_taken_are_refused() -> None:
    with pytest.raises(BadImage, match="1536 tiles; at most 1024"):
        jp2.essence(with_numbers(SIZES + 16, 1, 1))
    with pytest.raises(BadImage, match="16384 components; at most 4"):
        jp2.essence(STREAM.replace(jp2_components(3), jp2_components(16_384)))
    cod = STREAM.index(b"\xff\x52")
    with pytest.raises(BadImage, match="more than 100 layers"):
        jp2.essence(STREAM[: cod + 6] + struct.pack(">H", 65_535) + STREAM[cod + 8 :])
    with pytest.raises(BadImage, match="more than 1000 markers"):
        jp2.essence(STREAM[:cod] + b"\xff\x64\0\2" * 2000 + STREAM[cod:])


@pytest.mark.parametrize("sides", [(4, 4), (16, 16), (4, 64)])
def test_small_blocks_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match="blocks of less than 32 x 32"):
        jp2.essence(encode(colours(), "JPEG2000", codeblock_size=sides))


def test_small_precincts_are_refused() -> None:
    with pytest.raises(BadImage, match="precincts"):
        jp2.essence(encode(colours((512, 512)), "JPEG2000", precinct_size=(16, 16)))


@pytest.mark.parametrize("numbers", [(0, 0), (48, 0), (0, 32)])
def test_no_pixels_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match="no pixels"):
        jp2.essence(with_numbers(SIZES, *numbers))


def test_boxes_and_codestream_have_to_be_of_one_size() -> None:
    at = FILE.index(b"ihdr") + 4
    with pytest.raises(BadImage, match="another size than its pixels have, 48 x 32"):
        jp2.essence(FILE[:at] + struct.pack(">II", 8, 8) + FILE[at + 8 :])


@pytest.mark.parametrize("kept", [12, 40, 100, 0.5, -1, -2])
def test_one_that_is_cut_off_is_refused(kept: float) -> None:
    for file in (FILE, STREAM):
        with pytest.raises((BadImage, TooLarge)):
            jp2.essence(file[: int(kept * len(file)) if isinstance(kept, float) else int(kept)])
