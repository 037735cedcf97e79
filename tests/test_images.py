"""From uploaded bytes to pixels: every format, every orientation, every limit, and exactly the reference steps."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from imagequeue import images, openers
from imagequeue.errors import BadImage, ServerBusy, TooLarge
from tests.support import hostile
from tests.support.pictures import HAS_HEIC, encode, picture
from tests.support.system import ROOT

SIZE = (32, 24)
SAY_THEIR_END = {"WEBP", "TIFF", "JPEG2000", "AVIF", "HEIC"}
MODES = ["1", "L", "LA", "P", "RGB", "RGBA"]


def decode(upload: bytes, *, size: tuple[int, int] = SIZE, max_bytes: int = 2**20, max_pixels: int = 10**6) -> bytes:
    return images.decode(upload, size=size, max_bytes=max_bytes, max_pixels=max_pixels)


def reference(upload: bytes, size: tuple[int, int] = SIZE) -> bytes:
    """Pillow's own convert and resize, on white."""
    with Image.open(io.BytesIO(upload)) as image:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB").resize(size).tobytes()


def is_reference(pixels: bytes, wanted: bytes) -> bool:
    """The same, but for what SIMD code rounds otherwise: one level, in few values."""
    differences = [abs(a - b) for a, b in zip(pixels, wanted, strict=True) if a != b]
    return max(differences, default=0) <= 1 and len(differences) <= len(wanted) / 50


def colours(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A smooth picture with another colour in each corner."""
    corners = Image.new("RGB", (2, 2))
    corners.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)])
    return corners.resize(size, Image.Resampling.BILINEAR)


@pytest.mark.parametrize("format", images.FORMATS)
def test_every_format_gives_the_reference_pixels(format: str) -> None:
    upload = encode(colours(), format)
    pixels = decode(upload)
    assert is_reference(pixels, reference(upload))
    assert len(pixels) == SIZE[0] * SIZE[1] * 3


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_a_png_gives_the_reference_pixels(mode: str) -> None:
    image = colours().convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert is_reference(decode(encode(image)), reference(encode(image)))


@pytest.mark.parametrize(("format", "transparency"), [("PNG", 0), ("PNG", bytes(range(200))), ("GIF", 0)])
def test_a_transparent_palette_gives_the_reference_pixels(format: str, transparency: int | bytes) -> None:
    upload = encode(colours().convert("P"), format, transparency=transparency)
    assert is_reference(decode(upload), reference(upload))


@pytest.mark.parametrize("under", [(0, 0, 0), (255, 0, 255), (255, 255, 255)])
@pytest.mark.parametrize(("mode", "format"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("LA", "PNG"), ("P", "PNG")])
def test_what_is_transparent_is_white_whatever_colour_is_under_it(
    mode: str, format: str, under: tuple[int, int, int]
) -> None:
    image = Image.new("RGBA", (40, 40), (*under, 0))
    image.paste((200, 200, 200, 255), (0, 20, 40, 40))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    pixels = decode(encode(image.convert(mode), format, **options), size=(1, 4))
    # Resizing blends the rows at the border.
    assert pixels[:3] == b"\xff\xff\xff"
    assert max(abs(value - 200) for value in pixels[9:]) <= 3


@pytest.mark.parametrize(("mode", "key"), [("RGB", (255, 0, 0)), ("L", 0), ("1", 0)])
def test_a_colour_that_stands_for_transparent_is_white(mode: str, key: int | tuple[int, int, int]) -> None:
    upload = encode(Image.new(mode, (8, 8), key), transparency=key)
    assert decode(upload) == b"\xff" * (SIZE[0] * SIZE[1] * 3)


def test_colour_of_16_bits_may_be_transparent() -> None:
    for colour, samples, transparent in (
        (6, (9, 9, 9, 0), b""),
        (4, (9, 0), b""),
        (2, (9, 8, 7), bytes((0, 9, 0, 8, 0, 7))),
    ):
        row = b"\0" + b"".join(struct.pack(">H", value) for value in samples) * 8
        chunks = [chunk(b"tRNS", transparent)] if transparent else []
        header = struct.pack(">IIBBBBB", 8, 8, 16, colour, 0, 0, 0)
        pixels = decode(png(header, *chunks, chunk(b"IDAT", zlib.compress(row * 8))))
        assert len(pixels) == SIZE[0] * SIZE[1] * 3
        if not transparent:
            assert set(pixels) == {255}


def test_cmyk_gives_the_reference_pixels() -> None:
    upload = encode(colours().convert("CMYK"), "JPEG")
    assert is_reference(decode(upload), reference(upload))


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("PA", (0, 0), 255),
        ("RGBa", (0, 0, 0, 0), 255),
        ("CMYK", (0, 0, 0, 55), 200),
        ("I", 200 * 257, 200),
        ("I", -5, 0),
        ("F", 200.0, 200),
        ("F", 1e9, 255),
        ("YCbCr", (200, 128, 128), 200),
    ],
)
def test_modes_that_decoders_may_give_one_day_look_as_they_should(mode: str, colour: Any, seen: int) -> None:
    assert images._rgb(Image.new(mode, (1, 1), colour)).getpixel((0, 0)) == (seen, seen, seen)


def test_grey_of_16_bits_looks_like_the_same_grey_of_8() -> None:
    eight = Image.linear_gradient("L")
    sixteen = Image.frombytes("I;16", eight.size, b"".join(struct.pack("<H", value * 257) for value in eight.tobytes()))
    assert decode(encode(sixteen)) == decode(encode(eight))


def test_colour_of_16_bits_looks_like_the_same_colour_of_8() -> None:
    rows = b"".join(b"\0" + struct.pack(">HHH", 200 * 257, 100 * 257, 50 * 257) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    upload = png(header, chunk(b"IDAT", zlib.compress(rows)))
    assert decode(upload) == bytes((200, 100, 50)) * (SIZE[0] * SIZE[1])


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if format == "WEBP" else {}
        upload = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        with Image.open(io.BytesIO(upload)) as image:
            assert getattr(image, "n_frames", 1) == 3, format
        assert decode(upload) == b"\xff\0\0" * (SIZE[0] * SIZE[1]), format


def test_the_size_is_width_then_height() -> None:
    top_red = Image.new("RGB", (40, 40), "blue")
    top_red.paste("red", (0, 0, 40, 20))
    pixels = decode(encode(top_red), size=(10, 20))
    assert pixels[:30] == b"\xff\0\0" * 10
    assert pixels[-30:] == b"\0\0\xff" * 10


# What a camera held in some way writes is the picture turned back by the inverse of what the tag asks for.
TURNS: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: ImageOps.mirror(image),
    3: lambda image: image.rotate(180),
    4: lambda image: ImageOps.flip(image),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_an_exif_orientation_is_applied(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    upload = encode(TURNS[orientation](colours()), format, exif=exif, **options)
    upright = decode(encode(colours()))
    worst = max(abs(a - b) for a, b in zip(decode(upload), upright, strict=True))
    assert worst <= (4 if format == "JPEG" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encode(colours(), exif=exif)) == decode(encode(colours()))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(header: bytes, *chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def test_more_bytes_than_the_limit_are_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    upload = picture(1)
    assert decode(upload, max_bytes=len(upload))
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(TooLarge, match=f"{len(upload)} bytes; at most {len(upload) - 1}"):
        decode(upload, max_bytes=len(upload) - 1)


def test_more_pixels_than_the_limit_are_refused_undecoded() -> None:
    assert decode(picture(1, (40, 30)), max_pixels=1200)
    # Only a header: whoever decodes it stumbles.
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    with pytest.raises(TooLarge, match="50000 x 50000 pixels; at most 1199"):
        decode(png(header), max_pixels=1199)
    with pytest.raises(TooLarge, match="40 x 30 pixels; at most 1199"):
        decode(picture(1, (40, 30)), max_pixels=1199)


def test_a_limit_above_pillows_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert decode(picture(1, (40, 30)), max_pixels=1200)


@pytest.mark.parametrize("size", [(images.MAX_SIDE, 1), (1, images.MAX_SIDE)])
def test_a_longer_side_than_any_jpeg_has_is_refused_undecoded(size: tuple[int, int]) -> None:
    assert decode(encode(Image.new("L", size)), size=(4, 4))
    longer = tuple(side + (side > 1) for side in size)
    header = struct.pack(">IIBBBBB", *longer, 8, 0, 0, 0, 0)
    with pytest.raises(TooLarge, match=f"{longer[0]} x {longer[1]} pixels; at most 65535 on a side"):
        decode(png(header, chunk(b"IDAT", b"")))


def test_room_is_asked_for_before_anything_is_unpacked_and_may_be_refused() -> None:
    asked = []

    @contextmanager
    def refuse(needed: int) -> Iterator[None]:
        asked.append(needed)
        raise ServerBusy("no room")
        yield

    for format in filter(openers.is_read, images.FORMATS):
        # Whoever unpacks it stumbles; of the formats that say where their pixels end, that is seen without.
        upload = encode(colours((64, 64)), format)[: None if format in SAY_THEIR_END else -40]
        with pytest.raises(ServerBusy):
            images.decode(upload, size=SIZE, max_bytes=2**20, max_pixels=10**6, room_for=refuse)
    assert {needed / (64 * 64) for needed in asked} == {18, 14, 24, 15} | ({17} if HAS_HEIC else set())


def test_what_room_raises_is_passed_on() -> None:
    def fail(pixels: int) -> AbstractContextManager[object]:
        raise LookupError("not a fault of the image")

    with pytest.raises(LookupError):
        images.decode(picture(1), size=SIZE, max_bytes=2**20, max_pixels=10**6, room_for=fail)


def test_room_is_given_back_when_an_image_is_broken() -> None:
    inside: list[int] = []

    @contextmanager
    def room(pixels: int) -> Iterator[None]:
        inside.append(pixels)
        try:
            yield
        finally:
            inside.pop()

    with pytest.raises(BadImage):
        images.decode(encode(colours())[:-40], size=SIZE, max_bytes=2**20, max_pixels=10**6, room_for=room)
    assert not inside


def test_nothing_is_no_image() -> None:
    with pytest.raises(BadImage, match="empty"):
        decode(b"")


@pytest.mark.parametrize(
    ("format", "name"), [("ICO", "An icon"), ("PPM", "Netpbm"), ("TGA", "Targa"), ("PDF", "PDF"), ("DDS", "DDS")]
)
def test_other_formats_are_refused_by_their_names_with_those_that_are_read(format: str, name: str) -> None:
    with pytest.raises(BadImage, match=f"^{name}.* is not read by this server; send JPEG, PNG, WebP, GIF, BMP, TIFF"):
        decode(encode(colours(), format))


def test_bytes_of_no_format_are_refused_with_those_that_are_read() -> None:
    with pytest.raises(BadImage, match="no image that is read here; send JPEG, PNG, WebP"):
        decode(b"this is no picture")


def test_a_format_that_takes_more_memory_has_fewer_pixels() -> None:
    upload = encode(colours().convert("RGBA"), "JPEG2000")
    assert decode(upload, max_pixels=60 * 40 * 30 // 18)
    with pytest.raises(TooLarge, match="60 x 40 pixels; at most 2399 in all are taken of JPEG 2000"):
        decode(upload, max_pixels=60 * 40 * 30 // 18 - 1)


def test_a_refused_image_leaves_no_warning_behind(recwarn: pytest.WarningsRecorder) -> None:
    header = struct.pack(">IIBBBBB", 12_000, 9_000, 8, 2, 0, 0, 0)
    with pytest.raises(TooLarge):
        decode(png(header))
    assert not recwarn.list


DECODE_WITHOUT_FILES = """
import os, resource, sys
from imagequeue import images
files = [bytes.fromhex(line) for line in sys.stdin]
images.preload()
before = set(sys.modules)
used = len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
try:
    open("/dev/null")
except OSError:
    for file in files:
        for is_fast in (False, True):
            images.decode(file, size=(4, 4), max_bytes=2**24, max_pixels=10**6, is_fast=is_fast)
    print(len(files), set(sys.modules) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open descriptors are counted in Linux's /proc")
def test_a_process_that_is_preloaded_decodes_every_format_and_opens_no_file() -> None:
    cases = [*hostile.odd(), *hostile.odd_later(), *hostile.metadata()]
    files = [case.file for case in cases if case.verdict == "pixels"]
    done = subprocess.run(
        [sys.executable, "-c", DECODE_WITHOUT_FILES],
        cwd=ROOT,
        input="\n".join(file.hex() for file in files),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{len(files)} set()\n", "")


@pytest.mark.parametrize(
    ("more", "others"),
    [
        ("pass", {"PIL.TiffImagePlugin", "PIL.AvifImagePlugin", "PIL._avif", "PIL.Jpeg2KImagePlugin", "pillow_heif"}),
        ("images.preload()", {"PIL.PdfImagePlugin", "PIL.IcoImagePlugin"}),
    ],
)
def test_importing_the_decoder_loads_no_web_framework_and_no_format_that_is_not_needed(
    more: str, others: set[str]
) -> None:
    others |= {"flask", "werkzeug", "redis", "numpy"}
    code = f"import sys; from imagequeue import images; {more}; print({others} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
