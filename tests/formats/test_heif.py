"""Of an AVIF or HEIC a decoder sees the picture, its tiles and its alpha, each of the size that it says."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from imagequeue.errors import BadImage
from imagequeue.formats import heif
from tests.support import isobmff
from tests.support.hostile import ORIENTATION, colours
from tests.support.pictures import encode

FORMATS = ["AVIF", "HEIC"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_new_file_is_one_of_the_same_pixels(format: str, mode: str) -> None:
    file = encode(colours((64, 64), mode=mode), format)
    with Image.open(io.BytesIO(file)) as image, Image.open(io.BytesIO(heif.essence(file).file)) as bare:
        assert (bare.mode, bare.size) == (mode, (64, 64))
        assert bare.tobytes() == image.tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_are_left_out_and_the_size_is_known(format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    exif[ORIENTATION] = 6
    file = encode(colours((64, 128)), format, exif=exif.tobytes(), xmp=b"<a>another secret</a>")
    essence = heif.essence(file)
    assert b"secret" in file
    assert b"secret" not in essence.file
    assert (essence.format, essence.size, essence.orientation) == (format, (64, 128), 6)


@pytest.mark.parametrize("format", FORMATS)
def test_alpha_costs_more_memory(format: str) -> None:
    plain, alpha = (heif.essence(encode(colours(mode=mode), format)).bytes_per_pixel for mode in ("RGB", "RGBA"))
    assert plain < alpha


def test_equal_tiles_are_kept_once() -> None:
    file = encode(Image.new("RGB", (1024, 1024), "red"), "HEIC", tile_size=64)
    bare = heif.essence(file).file
    with Image.open(io.BytesIO(bare)) as image:
        assert max(abs(a - b) for a, b in zip(image.getpixel((700, 700)), (255, 0, 0), strict=True)) <= 2
    assert len(bare) <= len(file)


def test_a_property_of_megabytes_is_refused_and_a_profile_of_as_many_left_out() -> None:
    profile = encode(colours(), "AVIF", icc_profile=bytes(200_000))
    assert len(heif.essence(profile).file) < 10_000
    at = profile.index(b"colrprof")
    with pytest.raises(BadImage, match="property of more than 16384 bytes"):
        heif.essence(profile[:at] + b"colrnclx" + profile[at + 8 :])


@pytest.mark.parametrize("format", FORMATS)
def test_each_lie_is_refused_with_a_reason(format: str) -> None:
    lies = list(isobmff.lies(encode(colours(), format)))
    assert len(lies) > 10
    for name, file, _ in lies:
        with pytest.raises(BadImage) as refused:
            heif.essence(file)
        assert refused.value.message, name


def test_a_size_that_the_pictures_own_header_does_not_have_is_said() -> None:
    file = isobmff.with_size(encode(colours((256, 256)), "AVIF"), 16, 16)
    with pytest.raises(BadImage, match="says 16 x 16 pixels and has 256 x 256"):
        heif.essence(file)


def test_tiles_whose_sizes_do_not_make_the_pictures_are_refused() -> None:
    file = encode(colours((256, 256)), "HEIC", tile_size=64)
    (at,) = [at for at in range(len(file)) if file[at : at + 8] == struct.pack(">BBBBHH", 0, 0, 3, 3, 256, 256)]
    lie = file[: at + 4] + struct.pack(">HH", 16_384, 16_384) + file[at + 8 :]
    with pytest.raises(BadImage, match="not as large as its tiles"):
        heif.essence(lie)
    with pytest.raises(BadImage, match="or lacks some"):
        heif.essence(file[: at + 2] + b"\xff\xff" + file[at + 4 :])


def test_brands_tell_pictures_from_videos() -> None:
    for brand in (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        assert heif.is_heif(struct.pack(">I4s4sI", 16, b"ftyp", brand, 0))
    assert heif.is_heif(struct.pack(">I4s4sI4s", 20, b"ftyp", b"odd ", 0, b"heic"))
    for brand in (b"isom", b"mp42", b"qt  ", b"crx "):
        assert not heif.is_heif(struct.pack(">I4s4sI", 16, b"ftyp", brand, 0))
    assert heif.stated_format(struct.pack(">I4s4sI4s", 20, b"ftyp", b"mif1", 0, b"avif")) == "AVIF"
