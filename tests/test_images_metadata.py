"""Metadata that nobody needs never makes a picture unreadable; one that lacks some of its pixels is refused."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image, ImageFile

from imagequeue import images
from imagequeue.errors import BadImage
from tests.support.hostile import colours
from tests.support.pictures import encode
from tests.support.segments import jpeg_segment, png_chunk

SIZE = (32, 24)
PNG, JPEG = encode(colours()), encode(colours(), "JPEG", quality=90)
# A rotation, and what EXIF's writer refuses: a negative fraction, a negative number.
ROTATED = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
UNWRITABLE = [
    struct.pack("<HHII", 0x11A, 10, 1, 38) + bytes(4) + struct.pack("<ii", -1, 5),
    struct.pack("<HHIi", 0x101, 9, 1, -1) + bytes(4),
]


def decode(upload: bytes, size: tuple[int, int] = SIZE) -> bytes:
    return images.decode(upload, size=size, max_bytes=10 * 2**20, max_pixels=10**6)


def png_with(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def jpeg_with(segment: bytes) -> bytes:
    return JPEG[:2] + segment + JPEG[2:]


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"eXIf", b"garbage!"),
        png_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(2_000_000))),
        png_chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
        png_chunk(b"tEXt", b"parameters\0" + b"a" * 2_000_000),
        png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000))),
        png_chunk(b"iCCP", b"icc\0\7"),
        png_chunk(b"pHYs", b"?"),
        png_chunk(b"acTL", b""),
        png_chunk(b"fcTL", b"?"),
        png_chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))[:-1] + b"?",
    ],
    ids=lambda chunk: f"{chunk[4:8].decode()} {len(chunk)}",
)
def test_a_png_is_read_whatever_its_metadata_are(chunk: bytes) -> None:
    assert decode(png_with(chunk)) == decode(PNG)
    assert decode(PNG[:-12] + chunk + PNG[-12:]) == decode(PNG)


def test_a_checksum_of_a_critical_chunk_counts() -> None:
    with pytest.raises(BadImage, match="header is broken"):
        decode(PNG[:32] + bytes([PNG[32] ^ 1]) + PNG[33:])


def test_a_webp_is_read_whatever_its_metadata_are() -> None:
    plain = encode(colours(), "WEBP", lossless=True)
    for metadata in ({"exif": b"garbage!"}, {"xmp": b"\xff" * 99}, {"icc_profile": b"?" * 99}):
        assert decode(encode(colours(), "WEBP", lossless=True, **metadata)) == decode(plain)
    assert decode(encode(colours(), "WEBP", lossless=True, exif=bytes(100))[:-50]) == decode(plain)


@pytest.mark.parametrize(
    "payload", [b"", b"garbage", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + b"\x12" * 40]
)
def test_a_photograph_with_broken_exif_is_still_a_photograph(payload: bytes) -> None:
    assert decode(jpeg_with(jpeg_segment(0xE1, b"Exif\0\0" + payload))) == decode(JPEG)


@pytest.mark.parametrize("entry", UNWRITABLE, ids=["fraction", "number"])
def test_a_photograph_is_turned_although_its_exif_could_not_be_written_back(entry: bytes) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + ROTATED + entry
    turned = encode(colours(), "JPEG", quality=90)
    expected = Image.frombytes("RGB", colours().size, decode(turned, colours().size)).transpose(
        Image.Transpose.ROTATE_270
    )
    assert decode(jpeg_with(jpeg_segment(0xE1, exif)), expected.size) == expected.tobytes()


def test_entries_of_exif_that_share_their_bytes_are_not_copied_one_by_one() -> None:
    # 60,000 times two megabytes.
    entries = b"".join(struct.pack("<HHII", 0x9000 + i % 9000, 7, 2_000_000, 8) for i in range(60_000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + entries + bytes(4) + bytes(2_000_000)
    assert decode(png_with(png_chunk(b"eXIf", exif))) == decode(PNG)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("tail", [b"", b"\xff", bytes(100)])
def test_a_jpeg_that_lacks_only_its_end_is_read(options: dict[str, object], tail: bytes) -> None:
    whole = encode(colours(), "JPEG", **options)
    assert whole.endswith(b"\xff\xd9")
    assert decode(whole[:-2] + tail) == decode(whole)


@pytest.mark.parametrize("missing", [60, 0.25, 0.5, 0.75])
def test_a_jpeg_that_lacks_pixels_is_refused(missing: float) -> None:
    noise = Image.effect_noise((200, 150), 90).convert("RGB")
    for options in ({}, {"progressive": True}):
        whole = encode(noise, "JPEG", **options)
        kept = len(whole) - 2 - (int(missing) if missing >= 1 else int(missing * len(whole)))
        with pytest.raises(BadImage, match="cut off"):
            decode(whole[:kept], (200, 150))


@pytest.mark.parametrize("format", images.FORMATS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_that_lacks_pixels_is_refused(format: str, kept: float) -> None:
    upload = encode(Image.effect_noise((200, 150), 90).convert("RGB"), format)
    with pytest.raises(BadImage):
        decode(upload[: int(kept * len(upload))])


def test_a_png_and_a_gif_that_lack_only_their_last_mark_are_read() -> None:
    assert decode(PNG[:-12]) == decode(PNG)
    gif = encode(colours(), "GIF")
    assert decode(gif[:-1]) == decode(gif)


def test_pillows_settings_for_the_whole_process_are_left_alone() -> None:
    for upload in (JPEG[:-2], png_with(png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000))))):
        decode(upload)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
