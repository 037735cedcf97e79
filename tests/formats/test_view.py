"""Cropping, rotating and mirroring apply in the order in which a file lists them, as in libheif."""

from __future__ import annotations

import io
import struct
from itertools import permutations, product

import pytest
from PIL import Image

from imagequeue import images
from imagequeue.formats.view import Edges, View, aperture
from tests.support.isobmff import with_properties
from tests.support.pictures import HAS_HEIC, encode, picture

SIZE = (64, 48)
# Not in the middle, so that each side can be told from the other.
CLAP = struct.pack(">IIIIiIiI", 30, 1, 20, 1, -5, 1, 3, 1)
HALF = struct.pack(">IIIIiIiI", 31, 1, 21, 1, -5, 1, 4, 1)

Properties = list[tuple[bytes, bytes]]
TURNS = [bytes([angle]) for angle in range(4)]
AXES = [b"\0", b"\1"]


def all_orders() -> list[Properties]:
    found: list[Properties] = []
    for angle, axis in product(TURNS, AXES):
        turns = [(b"irot", angle), (b"imir", axis)]
        found += map(list, permutations(turns))
        found += map(list, permutations([*turns, (b"clap", CLAP)]))
        found.append([*turns, (b"clap", HALF), (b"irot", angle)])
        found.append([(b"clap", HALF), *turns, (b"clap", struct.pack(">IIIIiIiI", 9, 1, 7, 1, 2, 1, -3, 1))])
    return found


@pytest.mark.skipif(not HAS_HEIC, reason="pillow-heif is not installed")
def test_in_every_order_the_pixels_are_those_of_libheif() -> None:
    with Image.open(io.BytesIO(picture(1, SIZE))) as noise:
        file = encode(noise, "HEIC", quality=90, chroma=444)
    seen = set()
    for properties in all_orders():
        upload = with_properties(file, properties)
        with Image.open(io.BytesIO(upload)) as image:
            pixels = image.convert("RGB").tobytes()
            size = image.size
        seen.add(pixels)
        assert images.decode(upload, size=size, max_bytes=2**20, max_pixels=2**20) == pixels, properties
    assert len(seen) > 30


def test_a_property_without_contents_changes_nothing() -> None:
    view = View(SIZE)
    for kind in (b"irot", b"imir", b"clap", b"ispe"):
        view.apply(kind, b"")
    assert (view.orientation, view.crop) == (1, None)


@pytest.mark.parametrize(
    ("clap", "crop"),
    [
        ((40, 1, 20, 1, 0, 1, 0, 1), (30, 15, 70, 35)),
        ((61, 1, 41, 1, -39, 2, -9, 2), (0, 0, 61, 41)),
        ((41, 1, 21, 1, 0, 1, 0, 1), (29, 15, 70, 36)),
        ((200, 1, 20, 1, 0, 1, 0, 1), None),
        ((40, 0, 20, 1, 0, 1, 0, 1), None),
    ],
)
def test_an_aperture_is_cut_out_unless_it_is_invalid(clap: tuple[int, ...], crop: Edges | None) -> None:
    assert aperture(struct.pack(">IIIIiIiI", *clap), (100, 50)) == crop
