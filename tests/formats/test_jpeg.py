"""Of a JPEG the metadata is left out, and what it has too many of is counted before a decoder sees it."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from imagequeue.errors import BadImage
from imagequeue.formats import jpeg
from tests.support.hostile import colours
from tests.support.pictures import encode
from tests.support.segments import jpeg_segment

PLAIN = encode(colours(), "JPEG")
# It says that nothing changes in 16,384 blocks.
SCAN = jpeg_segment(0xDA, b"\1\1\0\1\x3f\x10") + bytes(2)


def with_segments(*segments: bytes) -> bytes:
    return PLAIN[:2] + b"".join(segments) + PLAIN[2:]


def scans(count: int, size: tuple[int, int] = (64, 64), between: bytes = b"", channels: int = 1) -> bytes:
    """A grey progressive JPEG of that many scans."""
    tables = jpeg_segment(0xDB, b"\0" + b"\1" * 64) + b"".join(
        jpeg_segment(0xC4, bytes([kind, 1, *[0] * 15, value])) for kind, value in ((0x10, 0xE0), (0, 0))
    )
    frame = jpeg_segment(0xC2, struct.pack(">BHHB", 8, size[1], size[0], channels) + b"\1\x11\0" * channels)
    return b"\xff\xd8" + tables + frame + (SCAN + between) * count + b"\xff\xd9"


def test_a_file_without_metadata_is_not_copied() -> None:
    assert jpeg.essence(PLAIN).file is PLAIN


def test_segments_of_metadata_are_left_out_and_those_of_colours_are_kept() -> None:
    metadata = [jpeg_segment(0xE1, b"Exif\0\0junk"), jpeg_segment(0xE2, b"MPF\0" + bytes(50)), jpeg_segment(0xFE, b"x")]
    assert jpeg.essence(with_segments(*metadata)).file == PLAIN
    adobe = encode(colours(mode="CMYK"), "JPEG")
    assert b"Adobe" in jpeg.essence(adobe).file


def test_junk_and_fill_bytes_between_segments_are_left_out() -> None:
    assert jpeg.essence(PLAIN[:2] + b"\xff\0junk\xff\xff" + PLAIN[2:]).file == PLAIN


def test_the_first_exif_counts_and_xmp_where_that_says_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    segment = jpeg_segment(0xE1, b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0"))
    xmp = jpeg_segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<a tiff:Orientation="3"/>')
    assert jpeg.essence(with_segments(segment, jpeg_segment(0xE1, b"Exif\0\0junk"), xmp)).orientation == 6
    assert jpeg.essence(with_segments(xmp)).orientation == 3


def test_as_many_segments_are_read_as_the_bound_says() -> None:
    kept = len(jpeg.essence(PLAIN).file)
    many = with_segments(*[jpeg_segment(0xE5, b"")] * (jpeg.MAX_SEGMENTS - 20))
    assert len(jpeg.essence(many).file) == kept
    with pytest.raises(BadImage, match="more than 1000 segments before its pixels"):
        jpeg.essence(with_segments(*[jpeg_segment(0xE1, b"Exif\0\0x")] * jpeg.MAX_SEGMENTS))


def test_as_many_scans_are_taken_as_the_bound_says() -> None:
    assert jpeg.essence(scans(jpeg.MAX_SCANS))
    with pytest.raises(BadImage, match="more than 100 scans, which are the most that are taken of 64 x 64 pixels"):
        jpeg.essence(scans(jpeg.MAX_SCANS + 1))


def test_a_large_picture_may_have_fewer_scans_but_as_many_as_encoders_write() -> None:
    assert jpeg.essence(scans(20, (9000, 9000)))
    with pytest.raises(BadImage, match="more than 20 scans"):
        jpeg.essence(scans(21, (9000, 9000)))
    assert jpeg.essence(scans(62, (4000, 4000)))
    with pytest.raises(BadImage, match="more than 62 scans"):
        jpeg.essence(scans(63, (4000, 4000)))


def test_a_picture_that_is_decoded_twice_may_have_half_as_many_scans() -> None:
    assert not jpeg.essence(scans(50)[:-2]).has_end
    with pytest.raises(BadImage, match="more than 50 scans"):
        jpeg.essence(scans(51)[:-2])


def test_scans_are_counted_across_segments_and_restarts() -> None:
    comment = jpeg_segment(0xFE, b"\xff\xd9") + b"\xff\xd0\xff\x00"
    with pytest.raises(BadImage, match="more than 100 scans"):
        jpeg.essence(scans(101, between=comment))
    with pytest.raises(BadImage, match="more than 1000 segments between its scans"):
        jpeg.essence(scans(10, between=jpeg_segment(0xFE, b"") * 101))


def test_scans_of_separate_channels_count_without_progression() -> None:
    several = scans(101, channels=3).replace(b"\xff\xc2", b"\xff\xc0")
    with pytest.raises(BadImage, match="scans"):
        jpeg.essence(several)
    # One scan has all channels, and libjpeg reads no other.
    assert jpeg.essence(scans(101).replace(b"\xff\xc2", b"\xff\xc0"))


def test_what_follows_the_end_and_what_a_thumbnail_has_is_not_counted() -> None:
    assert jpeg.essence(scans(10) + SCAN * 200)
    thumbnail = jpeg_segment(0xE1, b"Exif\0\0" + SCAN * 200)
    progressive = encode(colours(), "JPEG", progressive=True)
    assert jpeg.essence(progressive[:2] + thumbnail + progressive[2:]).file == progressive


def test_a_photograph_of_two_views_is_the_first_of_them() -> None:
    buffer = io.BytesIO()
    colours().save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32))])
    essence = jpeg.essence(buffer.getvalue())
    assert Image.open(io.BytesIO(essence.file)).format == "JPEG"


@pytest.mark.parametrize(
    "file", [b"\xff\xd8\xff", PLAIN[:30], PLAIN[:2] + b"\xff\xd9", b"\xff\xd8" + b"\xff" * 1_000_000]
)
def test_a_file_without_pixels_is_refused(file: bytes) -> None:
    with pytest.raises(BadImage, match="before its pixels"):
        jpeg.essence(file)


def test_an_end_is_looked_for_behind_the_thumbnails() -> None:
    thumbnail = jpeg_segment(0xE1, b"Exif\0\0\xff\xd9")
    assert jpeg.essence(with_segments(thumbnail)).has_end
    assert not jpeg.essence(with_segments(thumbnail)[:-2]).has_end
