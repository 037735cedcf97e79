"""What a decoder needs of an image file, and nothing else of it.

Metadata has two costs: a decoder that trips over it refuses a picture that is whole, and a few kilobytes of it can
keep a decoder busy for minutes (Pillow's readers of segments, chunks and EXIF are loops in Python, some of them
quadratic). So profiles, texts, thumbnails and EXIF are left out, and only the orientation is read from them, here.

Each format's module takes time in proportion to the file at the speed of C, or a bounded number of steps in Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# What decoding takes for each pixel, at the most: WebP.
BYTES_PER_PIXEL = 18
# The tiles of a small picture may be larger than it is, up to this side.
SMALL_TILE = 1024


@dataclass(frozen=True)
class Essence:
    """An image file without its metadata.

    format: its name, as Pillow has it. orientation: EXIF's, 1 to 8. size: (width, height) in pixels, where it is known
    before a decoder opens the file, or the decoder allocates memory as soon as it does. has_end: the file's last part
    is there; only JPEG is decoded without it. crop: what is shown of the picture, before it is turned: left, top,
    right, bottom. bytes_per_pixel: what decoding it takes, at the most; docs/internals.md has the measurements.
    """

    file: bytes = field(repr=False)
    format: str
    orientation: int = 1
    size: tuple[int, int] | None = None
    has_end: bool = True
    crop: tuple[int, int, int, int] | None = None
    bytes_per_pixel: int = BYTES_PER_PIXEL
