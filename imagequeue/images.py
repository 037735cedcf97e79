"""From the bytes that somebody uploaded to the pixels that a model takes, with every limit on the way.

Limits come before decoding: the number of bytes before a file is opened, the number of pixels after its
header is read and before anything is unpacked. The steps are the reference ones, in the reference order, so
that probabilities agree with any other correct ResNet50: orientation, RGB, resize with Pillow's default
filter. The aspect ratio is not kept; the reference does not keep it either.

Resizing costs as much as decoding does, so images of usual sizes are resized by SIMD code where the package
cykooz.resizer is installed: the same filter in the same two passes, an eighth of the time, at most one level of
256 beside Pillow's result, in one of 200 values; docs/internals.md has the probabilities.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

from PIL import Image, ImageOps, UnidentifiedImageError

from imagequeue.errors import BadImage, TooLarge

try:
    import cykooz_resizer as simd
except ImportError:
    # No wheel for this machine: Pillow's own code serves.
    simd = None

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_EXIF_ORIENTATION = 0x0112
# Up to this side the SIMD code's 16-bit coefficients are as good as Pillow's, and so short that nobody minds that it
# holds the interpreter's lock, which Pillow does not.
_SIMD_SIDE = 2048
# The fast way decodes a JPEG at a half, a quarter or an eighth, but never below this many times the model's size:
# what is left to the resizing hides the difference.
_FAST_MARGIN = 2


def decode(
    upload: bytes,
    *,
    size: tuple[int, int],
    max_bytes: int,
    max_pixels: int,
    is_fast: bool = False,
    room_for: Callable[[int], AbstractContextManager[object]] = lambda pixels: nullcontext(),
) -> bytes:
    """The first frame of an image file as uint8 RGB, row by row: height x width x 3 bytes.

    size: (width, height) in pixels that the model takes. is_fast: large JPEGs may be decoded at a fraction of their
    size, which is not the reference's way. room_for: entered with the number of pixels before they are unpacked.
    Raises TooLarge for more bytes or pixels than the limits, BadImage for what is no readable image.
    """
    if len(upload) > max_bytes:
        raise TooLarge(f"The image has {len(upload)} bytes; at most {max_bytes} are taken.")
    if not upload:
        raise BadImage("The image is empty.")
    with warnings.catch_warnings():
        # Pillow warns of what it makes the best of: odd palettes, broken EXIF.
        warnings.simplefilter("ignore")
        # Its own limit, for the whole process, would overrule a larger one; the check below comes as early.
        Image.MAX_IMAGE_PIXELS = None
        try:
            with ExitStack() as room:
                with Image.open(io.BytesIO(upload), formats=FORMATS) as image:
                    width, height = image.size
                    if width * height > max_pixels:
                        raise TooLarge(
                            f"The image has {width} x {height} pixels; at most {max_pixels} in all are taken."
                        )
                    room.enter_context(room_for(width * height))
                    if is_fast and image.format == "JPEG":
                        image.draft(None, (_FAST_MARGIN * size[0], _FAST_MARGIN * size[1]))
                    pixels = _resized(_rgb(_upright(image)), size).tobytes()
                # Its memory is free before the next one may take as much.
                del image
                return pixels
        except TooLarge:
            raise
        except UnidentifiedImageError as error:
            raise BadImage(f"The bytes are no image that is read here ({', '.join(FORMATS)}).") from error
        # Decoders of hostile bytes raise whatever they stumble over: OSError, SyntaxError, struct.error, …
        except Exception as error:
            raise BadImage(f"The image cannot be decoded: {error}.") from error


def preload() -> None:
    """Import what decoding imports when it first needs it, for a process that may open no file later."""
    Image.init()


def as_file(pixels: bytes, *, size: tuple[int, int]) -> bytes:
    """An image file (BMP) of uint8 RGB pixels, row by row, which `decode` gives back as they are.

    size: (width, height).
    """
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(buffer, "BMP")
    return buffer.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; itself, undecoded still, where there is nothing to turn."""
    if image.getexif().get(_EXIF_ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _rgb(image: Image.Image) -> Image.Image:
    # Pillow's convert would copy every pixel of what is RGB already.
    if image.mode == "RGB":
        return image
    # It scales colour of 16 bits to 8, but cuts grey of 16 bits off at 255: all white.
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image at `size`, by Pillow's default filter (bicubic, a = -0.5, widened when it shrinks)."""
    if simd is None or max(image.size) > _SIMD_SIDE:
        return image.resize(size)
    options = simd.ResizeOptions(simd.ResizeAlg.convolution(simd.FilterType.catmull_rom))
    # Two calls, because Pillow goes over the rows first and rounds between its passes; in one call this library goes
    # over the columns first, and a sixth of all values would differ.
    for target in ((size[0], image.height), size):
        if image.size != target:
            resized = Image.new("RGB", target)
            simd.Resizer().resize_pil(image, resized, options)
            image = resized
    return image
