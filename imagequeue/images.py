"""From the bytes that somebody uploaded to the pixels that a model takes, with every limit on the way.

Limits come before decoding: the number of bytes before a file is opened, the number of pixels after its
header is read and before anything is unpacked. The steps are the reference ones, in the reference order, so
that probabilities agree with any other correct ResNet50: orientation, RGB, resize with Pillow's default
filter. The aspect ratio is not kept; the reference does not keep it either.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from imagequeue.errors import BadImage, TooLarge

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_EXIF_ORIENTATION = 0x0112


def decode(upload: bytes, *, size: tuple[int, int], max_bytes: int, max_pixels: int) -> bytes:
    """The first frame of an image file as uint8 RGB, row by row: height x width x 3 bytes.

    size: (width, height) in pixels that the model takes.
    Raises TooLarge for more bytes or pixels than the limits, BadImage for what is no readable image.
    """
    if len(upload) > max_bytes:
        raise TooLarge(f"The image has {len(upload)} bytes; at most {max_bytes} are taken.")
    if not upload:
        raise BadImage("The image is empty.")
    with warnings.catch_warnings():
        # Pillow warns of what may be a decompression bomb; the limit on pixels says it better, as a refusal.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(upload), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise TooLarge(f"The image has {width} x {height} pixels; at most {max_pixels} in all are taken.")
                return _upright(image).convert("RGB").resize(size).tobytes()
        except TooLarge:
            raise
        except Image.DecompressionBombError as error:
            raise TooLarge(f"The image has too many pixels; at most {max_pixels} are taken.") from error
        except UnidentifiedImageError as error:
            raise BadImage(f"The bytes are no image that is read here ({', '.join(FORMATS)}).") from error
        # Decoders of hostile bytes raise whatever they stumble over: OSError, SyntaxError, struct.error, …
        except Exception as error:
            raise BadImage(f"The image cannot be decoded: {error}.") from error


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; itself, undecoded still, where there is nothing to turn."""
    if image.getexif().get(_EXIF_ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)
