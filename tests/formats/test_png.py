"""Of a PNG the chunks of metadata are left out, and no text is unpacked beyond its bound."""

from __future__ import annotations

import zlib

import pytest
from PIL import Image

from imagequeue.errors import BadImage
from imagequeue.formats import png
from imagequeue.images import decode
from tests.support.hostile import colours
from tests.support.pictures import encode
from tests.support.segments import png as png_file
from tests.support.segments import png_chunk, png_header

PLAIN = encode(colours())
# Behind the header.
START = 33


def with_chunks(*chunks: bytes, file: bytes = PLAIN) -> bytes:
    return file[:START] + b"".join(chunks) + file[START:]


def broken(chunk: bytes) -> bytes:
    """The chunk with a wrong checksum."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


def exif(orientation: int = 6) -> bytes:
    written = Image.Exif()
    written[0x0112] = orientation
    return written.tobytes().removeprefix(b"Exif\0\0")


def test_a_file_without_metadata_is_not_copied() -> None:
    assert png.essence(PLAIN).file is PLAIN


def test_metadata_before_between_and_behind_the_pixels_is_left_out() -> None:
    end = png_chunk(b"IEND", b"")
    text = png_chunk(b"tEXt", b"Comment\0hello")
    assert png.essence(with_chunks(text, broken(text))[: -len(end)] + text + end).file == PLAIN


def test_an_animation_is_its_first_frame() -> None:
    animation = encode(colours(), save_all=True, append_images=[Image.new("RGB", (48, 32))])
    assert b"fdAT" in animation
    assert b"fdAT" not in png.essence(animation).file
    assert b"acTL" not in png.essence(animation).file


def test_transparency_is_kept_where_it_is_right() -> None:
    palette = encode(colours(mode="P"))
    good = png_chunk(b"tRNS", bytes(200))
    # It belongs between palette and pixels.
    at = palette.index(b"IDAT") - 4
    assert good in png.essence(palette[:at] + good + palette[at:]).file
    for bad in (broken(good), png_chunk(b"tRNS", bytes(300)), png_chunk(b"tRNS", b"")):
        assert png.essence(palette[:at] + bad + palette[at:]).file == palette
    assert png.essence(with_chunks(png_chunk(b"tRNS", b"\0"))).file == PLAIN


def test_critical_chunks_are_left_to_the_decoder() -> None:
    unknown = broken(png_chunk(b"QQQQ", b"?"))
    assert unknown in png.essence(with_chunks(unknown)).file


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"eXIf", exif()),
        png_chunk(b"eXIf", b"Exif\0\0" + exif()),
        png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  34\n" + exif().hex().encode() + b"\n"),
        png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  34\n" + exif().hex().encode())),
        png_chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="6"/>'),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(b'<a tiff:Orientation="6"/>')),
    ],
)
def test_an_orientation_is_found_in_each_place_that_programs_write_it_to(chunk: bytes) -> None:
    essence = png.essence(with_chunks(chunk))
    assert (essence.orientation, essence.file) == (6, PLAIN)
    assert png.essence(with_chunks(broken(chunk))).orientation == 1


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"Raw profile type exif\0\0no zlib"),
        png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(50_000_000))),
        png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nxyz"),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1"),
        png_chunk(b"eXIf", b"garbage!"),
    ],
)
def test_metadata_that_cannot_be_read_turns_nothing(chunk: bytes) -> None:
    assert png.essence(with_chunks(chunk)).orientation == 1


def test_of_each_kind_of_metadata_the_first_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(100)))
    unpacked: list[bytes] = []

    def count(text: bytes) -> bytes:
        unpacked.append(text)
        return b""

    monkeypatch.setattr(png, "_unpacked", count)
    png.essence(with_chunks(*[packed] * 1000))
    assert len(unpacked) == 1


def test_as_many_chunks_are_read_as_the_bound_says() -> None:
    chunk = png_chunk(b"juNk", b"")
    assert png.essence(with_chunks(*[chunk] * (png.MAX_CHUNKS - 3))).file == PLAIN
    with pytest.raises(BadImage, match="more than 50000 chunks"):
        png.essence(with_chunks(*[chunk] * png.MAX_CHUNKS))


def test_a_file_that_ends_before_its_header_is_refused() -> None:
    short = png.SIGNATURE + png_chunk(b"tRNS", b"")
    for end in range(len(png.SIGNATURE), len(short) + 1):
        with pytest.raises(BadImage):
            decode(short[:end], size=(8, 8), max_bytes=1000, max_pixels=1000)


@pytest.mark.parametrize(("depth", "colour", "key"), [(16, 2, bytes(6)), (16, 0, bytes(2)), (2, 0, bytes(2))])
def test_no_colour_disappears_for_a_transparent_one_of_another_scale(depth: int, colour: int, key: bytes) -> None:
    row = bytes(1 + 8 * depth * (3 if colour == 2 else 1) // 8)
    header, rows = png_header(8, 8, depth=depth, colour=colour), png_chunk(b"IDAT", zlib.compress(row * 8))
    keyed = png_file(header, png_chunk(b"tRNS", key), rows)
    plain = png_file(header, rows)
    options = {"size": (8, 8), "max_bytes": 10_000, "max_pixels": 1000}
    assert decode(keyed, **options) == decode(plain, **options)  # type: ignore[arg-type]
