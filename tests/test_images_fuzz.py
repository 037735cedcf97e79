"""Whatever the bytes, the decoder gives pixels or one of its two errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue import images
from imagequeue.errors import BadImage, TooLarge
from tests.support.mutations import FILES, broken_files

SIZE = (16, 16)
MAX_PIXELS = 10**6


def outcome(upload: bytes) -> str:
    try:
        pixels = images.decode(upload, size=SIZE, max_bytes=2**20, max_pixels=MAX_PIXELS)
    except (BadImage, TooLarge) as error:
        return error.code
    assert len(pixels) == SIZE[0] * SIZE[1] * 3
    return "pixels"


@pytest.mark.parametrize("name", sorted(FILES))
def test_before_they_are_broken_all_files_are_images(name: str) -> None:
    assert outcome(FILES[name]) == "pixels"


@given(broken_files())
def test_a_broken_file_is_an_image_or_refused(upload: bytes) -> None:
    assert outcome(upload) in {"pixels", "bad_image", "too_large"}


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x20\0\0\0WEBP", b"BM", b""]), st.binary()
)
def test_any_bytes_behind_a_right_beginning_are_refused_or_an_image(start: bytes, rest: bytes) -> None:
    assert outcome(start + rest) in {"pixels", "bad_image", "too_large"}
