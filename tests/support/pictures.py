"""Pictures that tests draw themselves, each one different and known by its number."""

from __future__ import annotations

import io
import random
from importlib.util import find_spec

import pytest
from PIL import Image

from imagequeue import openers

# Whether HEIC can be written here, and read.
HAS_HEIC = find_spec("pillow_heif") is not None


def picture(number: int, size: tuple[int, int] = (40, 30), format: str = "PNG") -> bytes:
    """An image file whose pixels no other number gives."""
    noise = random.Random(number).randbytes(size[0] * size[1] * 3)
    return encode(Image.frombytes("RGB", size, noise), format)


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """An image file. format: Pillow's name; a test that wants HEIC is skipped where nothing writes it."""
    buffer = io.BytesIO()
    if format == "HEIC":
        # Loaded, and told to use one thread, before its writer is.
        assert openers.is_read(format) == HAS_HEIC
        pytest.importorskip("pillow_heif").register_heif_opener()
        format = "HEIF"
    image.save(buffer, format, **options)
    return buffer.getvalue()
