"""Pictures that tests draw themselves, each one different and known by its number."""

from __future__ import annotations

import io
import random

from PIL import Image


def picture(number: int, size: tuple[int, int] = (40, 30), format: str = "PNG") -> bytes:
    """An image file whose pixels no other number gives."""
    noise = random.Random(number).randbytes(size[0] * size[1] * 3)
    return encode(Image.frombytes("RGB", size, noise), format)


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
