"""The hostile files are small, and they are what they claim to be: a decoder gets as far as its pixels."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

from bench.attacks import files


@pytest.mark.parametrize(
    ("make", "size", "most_bytes"),
    [
        (lambda: files.many_scans(1000), (4000, 4000), 60_000),
        (lambda: files.zeros_png(50_000_000, 1), (50_000_000, 1), 60_000),
        (lambda: files.zeros_png(1, 50_000), (1, 50_000), 1000),
        (lambda: files.short_rows_bmp(50_000, 1000), (50_000, 1000), 6000),
        # A hundredth of what is sent: the time grows with the square.
        (lambda: files.many_segments(100_000), (8, 8), 101_000),
        (lambda: files.many_chunks(100_000), (8, 8), 101_000),
        (files.ordinary_jpeg, (640, 480), 200_000),
    ],
    ids=["scans", "thin", "tall", "short rows", "segments", "chunks", "ordinary"],
)
def test_each_file_is_an_image_of_that_size(make: Callable[[], bytes], size: tuple[int, int], most_bytes: int) -> None:
    file = make()
    assert len(file) < most_bytes
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(file)) as image:
            assert image.size == size
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def test_every_scan_is_decoded_and_a_few_of_them_make_an_image() -> None:
    with Image.open(io.BytesIO(files.many_scans(20, side=800))) as image:
        image.load()
        assert image.info["progressive"]
        assert image.getextrema() == (128, 128)


def test_short_rows_are_filled_up() -> None:
    with Image.open(io.BytesIO(files.short_rows_bmp(70, 5))) as image:
        image.load()
        assert image.size == (70, 5)
