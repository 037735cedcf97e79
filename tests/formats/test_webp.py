"""Of a WebP the size is known before a decoder takes memory, and broken metadata costs nothing."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from imagequeue.errors import BadImage
from imagequeue.formats import webp
from tests.support.hostile import colours
from tests.support.pictures import encode
from tests.support.segments import riff, riff_chunks


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": b"II*\0"}, {"save_all": True, "append_images": [colours((48, 33))]}]
)
def test_the_size_is_read_of_each_kind_of_file(options: dict[str, object]) -> None:
    assert webp.essence(encode(colours((48, 33)), "WEBP", **options)).size == (48, 33)


def test_an_orientation_is_read_from_exif_and_from_xmp() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert webp.essence(encode(colours(), "WEBP", exif=exif)).orientation == 6
    assert webp.essence(encode(colours(), "WEBP", xmp=b'<a tiff:Orientation="3"/>')).orientation == 3
    assert webp.essence(encode(colours(), "WEBP", exif=b"garbage!")).orientation == 1


def test_a_file_that_is_cut_off_in_its_metadata_loses_that_alone() -> None:
    file = encode(colours(), "WEBP", exif=bytes(100))
    cut = webp.essence(file[:-50]).file
    assert struct.unpack_from("<I", cut, 4)[0] == len(cut) - 8
    assert file.startswith(cut[8:], 8)
    assert webp.essence(file).file is file
    in_pixels = encode(colours(), "WEBP")[:-50]
    assert webp.essence(in_pixels).file is in_pixels


def test_more_chunks_than_the_bound_are_refused() -> None:
    chunks = riff_chunks(encode(colours(), "WEBP", exif=b"II*\0"))
    assert webp.essence(riff(*chunks, *[b"EXIF\0\0\0\0"] * 1000))
    with pytest.raises(BadImage, match="more than 50000 chunks"):
        webp.essence(riff(*chunks, *[b"EXIF\0\0\0\0"] * webp.MAX_CHUNKS))
