"""TIFF, JPEG 2000, AVIF and HEIC give the pixels that the same picture gives as a PNG."""

from __future__ import annotations

import io

import PIL
import pytest
from PIL import Image

from imagequeue import images
from imagequeue.errors import BadImage
from tests.support import directories, telephone
from tests.support.hostile import ORIENTATION
from tests.support.pictures import HAS_HEIC, encode
from tests.test_images import TURNS, colours

SIZE = (60, 40)
# Not found out by trying: Pillow 11.3, which lacks it, crashes some time after its encoder has failed.
HAS_ZSTD = int(PIL.__version__.split(".")[0]) >= 13
# As near to lossless as their writers come: colour is stored as luminance and chrominance.
BEST: dict[str, dict[str, object]] = {
    "TIFF": {},
    "JPEG2000": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIC": {"quality": -1, "chroma": 444},
}
# Levels of 256.
TOLERANCE = {"TIFF": 0, "JPEG2000": 0, "AVIF": 4, "HEIC": 2}


def decode(upload: bytes) -> bytes:
    return images.decode(upload, size=SIZE, max_bytes=2**20, max_pixels=10**6)


def difference(upload: bytes, image: Image.Image) -> int:
    """The largest between a file's pixels and the PNG's, in levels."""
    return max(abs(a - b) for a, b in zip(decode(upload), decode(encode(image)), strict=True))


def with_alpha(mode: str) -> Image.Image:
    image = colours().convert(mode[:-1])
    image.putalpha(Image.linear_gradient("L").resize(SIZE))
    return image


def grey_of_16_bits(mode: str) -> Image.Image:
    """Of each level of 8 bits its 257-fold."""
    return Image.frombytes(mode, SIZE, bytes(value for value in colours().convert("L").tobytes() for _ in range(2)))


@pytest.mark.parametrize("format", BEST)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_each_format_gives_the_pixels_of_the_png(format: str, mode: str) -> None:
    image = with_alpha(mode) if mode.endswith("A") else colours().convert(mode)
    assert difference(encode(image, format, **BEST[format]), image) <= TOLERANCE[format]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_each_kind_of_tiff_gives_the_pixels_of_the_png(mode: str, compression: str | None) -> None:
    image = with_alpha(mode) if mode.endswith("A") else colours().convert(mode)
    if compression == "zstd" and not HAS_ZSTD:
        pytest.skip("this Pillow's libtiff is built without Zstandard")
    png = image if mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGB")
    assert difference(encode(image, "TIFF", compression=compression), png) <= (2 if mode == "YCbCr" else 0)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_gives_the_pixels_of_the_png(compression: str) -> None:
    image = colours().convert("1")
    assert difference(encode(image, "TIFF", compression=compression), image) == 0


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
@pytest.mark.parametrize("format", ["TIFF", "JPEG2000"])
def test_grey_of_16_bits_looks_like_the_same_grey_of_8(format: str, mode: str) -> None:
    assert difference(encode(grey_of_16_bits(mode), format), colours().convert("L")) == 0


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_is_read_however_its_samples_lie(planar: int, order: str, tile: int | None, bits: int) -> None:
    upload = directories.arranged(colours(), planar=planar, order=order, tile=tile, bits=bits)
    assert difference(upload, colours()) == 0


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tile", [None, 16])
def test_an_uncompressed_tiff_need_not_say_how_long_its_strips_are(planar: int, bits: int, tile: int | None) -> None:
    upload = directories.arranged(colours(), planar=planar, tile=tile, bits=bits)
    assert difference(directories.without(upload, 325 if tile else 279), colours()) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_nor_need_one_of_other_samples_say_it(mode: str) -> None:
    image = colours((61, 40)).convert(mode)
    assert difference(directories.without(encode(image, "TIFF"), 279), image.convert("RGB")) <= 1


def test_a_compressed_tiff_has_to() -> None:
    with pytest.raises(BadImage, match="does not say where all of its pixels are"):
        decode(directories.without(encode(colours(), "TIFF", compression="packbits"), 279))


def test_such_a_tiff_that_is_cut_off_is_refused() -> None:
    long = {tag: value for tag, value in {**directories.PLAIN, 257: 5000, 278: 5000}.items() if tag != 279}
    with pytest.raises(BadImage, match="cut off"):
        decode(directories.tiff(long))


def test_a_palette_of_8_bits_where_16_are_meant_is_not_black() -> None:
    image = colours().convert("P")
    palette = image.getpalette()
    assert palette is not None
    planes = [palette[plane::3] + [0] * (256 - len(palette) // 3) for plane in range(3)]
    upload = directories.tiff(
        {**directories.PLAIN, 256: 60, 257: 40, 262: 3, 278: 40, 279: 2400, 320: [v for p in planes for v in p]},
        image.tobytes(),
    )
    assert difference(upload, image) <= 1


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_once(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # Pillow's and pillow-heif's writers take it out of EXIF, and write irot and imir.
    how = {"tiffinfo": {ORIENTATION: orientation}} if format == "TIFF" else {"exif": exif.tobytes()}
    upload = encode(TURNS[orientation](colours()), format, **BEST[format], **how)
    assert difference(upload, colours()) <= TOLERANCE[format]


@pytest.mark.parametrize("format", ["AVIF", "HEIC"])
def test_a_picture_of_odd_sides_is_cropped_to_them(format: str) -> None:
    # Where its writer pads, it is by repeating the edge; only the right size shows the right place.
    image = colours((61, 41))
    assert difference(encode(image, format, **BEST[format]), image) <= TOLERANCE[format]


def test_heic_of_tiles_is_put_together() -> None:
    image = colours((300, 200))
    assert difference(encode(image, "HEIC", tile_size=64, **BEST["HEIC"]), image) <= TOLERANCE["HEIC"]


@pytest.mark.skipif(not HAS_HEIC, reason="pillow-heif is not installed")
def test_a_heic_of_a_telephone_is_its_picture_alone() -> None:
    # Six tiles, of which those at the edges go beyond the picture.
    image = colours((1100, 800))
    upload = telephone.photograph(image)
    pixels = images.decode(upload, size=(800, 1100), max_bytes=2**20, max_pixels=10**6)
    with Image.open(io.BytesIO(upload)) as libheifs:
        assert libheifs.size == (800, 1100)
        assert pixels == libheifs.convert("RGB").tobytes()
    turned = image.transpose(Image.Transpose.ROTATE_270).tobytes()
    assert max(abs(a - b) for a, b in zip(pixels, turned, strict=True)) <= 4


def test_of_several_pictures_the_first_counts_or_the_one_that_is_said_to() -> None:
    other = Image.new("RGB", SIZE, "lime")
    for format in ("TIFF", "AVIF"):
        upload = encode(colours(), format, save_all=True, append_images=[other], **BEST[format])
        assert difference(upload, colours()) <= TOLERANCE[format]


@pytest.mark.skipif(not HAS_HEIC, reason="pillow-heif is not installed")
def test_of_a_heic_with_several_pictures_the_primary_one_counts() -> None:
    other = Image.new("RGB", SIZE, "lime")
    upload = encode(other, "HEIC", save_all=True, append_images=[colours()], primary_index=1, **BEST["HEIC"])
    assert difference(upload, colours()) <= TOLERANCE["HEIC"]


def test_a_tiff_without_brightness_of_its_own_is_refused_for_that() -> None:
    with pytest.raises(BadImage, match="fractions or signed"):
        decode(encode(colours().convert("F"), "TIFF"))
    with pytest.raises(BadImage, match="a depth that is not read here"):
        decode(directories.changed(encode(colours().convert("L"), "TIFF"), {258: 12}))


@pytest.mark.parametrize("format", ["TIFF", "JPEG2000", "AVIF", "HEIC"])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_one_that_lacks_pixels_is_refused(format: str, kept: float) -> None:
    upload = encode(Image.effect_noise((200, 150), 90).convert("RGB"), format)
    with pytest.raises(BadImage, match=r"cut off|not there|is broken"):
        decode(upload[: int(kept * len(upload))])
