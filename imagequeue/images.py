"""From the bytes that somebody uploaded to the pixels that a model takes, with every limit on the way.

Limits come before decoding: the number of bytes before a file is opened; what its format can have many of, as
segments and scans, before a decoder sees it; the number of pixels after its header is read and before anything is
unpacked. The steps are the reference ones, in the reference order, so that probabilities agree with any other correct
ResNet50: orientation, RGB, resize with Pillow's default filter. The aspect ratio is not kept; the reference does not
keep it either. What is transparent is shown on white; the reference shows whatever colour is under it.

Resizing costs as much as decoding does, so images of usual sizes are resized by SIMD code where the package
cykooz.resizer is installed: the same filter in the same two passes, an eighth of the time, at most one level of
256 beside Pillow's result, in one of 200 values; docs/internals.md has the probabilities.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace

from PIL import Image, UnidentifiedImageError

from imagequeue import openers
from imagequeue.errors import BadImage, ImageQueueError, TooLarge
from imagequeue.formats import bmp, gif, heif, jp2, jpeg, png, tiff, unread, webp
from imagequeue.formats.essence import BYTES_PER_PIXEL, Essence

try:
    import cykooz_resizer as simd
except ImportError:
    # No wheel for this machine: Pillow's own code serves.
    simd = None

FORMATS = tuple(openers.NAMES)
# The longest side that JPEG and GIF can have. Resizing takes 64 bytes for each pixel of a side, for its coefficients:
# of a PNG of 50,000,000 x 1 pixels that would be gigabytes.
MAX_SIDE = 65_535
# Up to this side the SIMD code's 16-bit coefficients are as good as Pillow's, and so short that nobody minds that it
# holds the interpreter's lock, which Pillow does not.
_SIMD_SIDE = 2048
# The fast way decodes a JPEG at a half, a quarter or an eighth, but never below this many times the model's size:
# what is left to the resizing hides the difference.
_FAST_MARGIN = 2
# No picture goes on like this. A JPEG that lacks its end shows these bytes as pixels, unless all of its own are there.
_FILLER = bytes(range(1, 255)) * 2
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_READERS: dict[bytes | tuple[bytes, ...], Callable[[bytes], Essence]] = {
    jpeg.SIGNATURE: jpeg.essence,
    png.SIGNATURE: png.essence,
    gif.SIGNATURES: gif.essence,
    bmp.SIGNATURE: bmp.essence,
}
RoomFor = Callable[[int], AbstractContextManager[object]]


def decode(
    upload: bytes,
    *,
    size: tuple[int, int],
    max_bytes: int,
    max_pixels: int,
    is_fast: bool = False,
    room_for: RoomFor = lambda needed: nullcontext(),
) -> bytes:
    """The first frame of an image file as uint8 RGB, row by row: height x width x 3 bytes.

    size: (width, height) in pixels that the model takes. is_fast: large JPEGs may be decoded at a fraction of their
    size, which is not the reference's way. room_for: entered with how many bytes of memory decoding takes at most,
    before anything is unpacked; what it raises is passed on.
    Raises TooLarge for more bytes or pixels than the limits, BadImage for what is no readable image.
    """
    if len(upload) > max_bytes:
        raise TooLarge(f"The image has {len(upload)} bytes; at most {max_bytes} are taken.")
    if not upload:
        raise BadImage("The image is empty.")
    with _refusing():
        essence = _essence(upload)
    if essence.size is not None:
        _check_size(essence.size, max_pixels)
    with warnings.catch_warnings():
        # Pillow warns of what it makes the best of, as odd palettes.
        warnings.simplefilter("ignore")
        # Its own limit, for the whole process, would overrule a larger one; ours comes as early.
        Image.MAX_IMAGE_PIXELS = None
        if essence.has_end:
            return _pixels(essence, size, max_pixels, is_fast, room_for)
        whole = [
            _pixels(replace(essence, file=essence.file + tail + jpeg.EOI), size, max_pixels, is_fast, room_for)
            for tail in (b"", _FILLER)
        ]
    if whole[0] != whole[1]:
        raise BadImage("The JPEG is cut off: some of its pixels are missing.")
    return whole[0]


def preload() -> None:
    """Load what decoding loads on first use, so that a process can decode all formats and open no file from then on."""
    for format in filter(openers.is_read, FORMATS):
        # Encoders of video take tens of megabytes, and threads; their decoders have nothing left to load.
        for mode in ("P", "RGB") if format not in heif.BYTES_PER_PIXEL else ():
            buffer = io.BytesIO()
            # Converted, for its palette: with an empty one Pillow before 13 writes a BMP that it cannot read.
            Image.new("RGB", (2, 2)).convert("RGB" if format.startswith("JPEG") else mode).save(buffer, format)
            decode(buffer.getvalue(), size=(1, 1), max_bytes=2**20, max_pixels=16)


def as_file(pixels: bytes, *, size: tuple[int, int]) -> bytes:
    """An image file (BMP) of uint8 RGB pixels, row by row, which `decode` gives back as they are.

    size: (width, height).
    """
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(buffer, "BMP")
    return buffer.getvalue()


def _essence(upload: bytes) -> Essence:
    """Raises BadImage for another format, and for more of anything than is taken."""
    for signatures, read in _READERS.items():
        if upload.startswith(signatures):
            return read(upload)
    if webp.is_webp(upload):
        return webp.essence(upload)
    for is_it, format, read in (
        (upload.startswith(tiff.SIGNATURES), "TIFF", tiff.essence),
        (upload.startswith((jp2.SIGNATURE, jp2.CODESTREAM)), "JPEG2000", jp2.essence),
        (heif.is_heif(upload), heif.stated_format(upload), heif.essence),
    ):
        if is_it and not openers.is_read(format):
            raise BadImage(openers.refusal(openers.NAMES[format]))
        if is_it:
            return read(upload)
    if name := unread.name(upload):
        raise BadImage(openers.refusal(name))
    raise BadImage(f"The bytes are no image that is read here; send {openers.listed()}.")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TooLarge(f"The image has {width} x {height} pixels; at most {max_pixels} in all are taken.")
    if max(size) > MAX_SIDE:
        raise TooLarge(f"The image has {width} x {height} pixels; at most {MAX_SIDE} on a side are taken.")


def _pixels(essence: Essence, size: tuple[int, int], max_pixels: int, is_fast: bool, room_for: RoomFor) -> bytes:
    with ExitStack() as room:
        if essence.size is not None:
            room.enter_context(room_for(_bytes_for(essence, essence.size, max_pixels)))
        with _refusing():
            image = openers.opened(essence.file, essence.format)
        _check_size(image.size, max_pixels)
        if essence.size is None:
            room.enter_context(room_for(_bytes_for(essence, image.size, max_pixels)))
        elif image.size != essence.size:
            raise BadImage("The image says two sizes.")
        with _refusing():
            if is_fast and image.format == "JPEG":
                image.draft(None, (_FAST_MARGIN * size[0], _FAST_MARGIN * size[1]))
            # Each step's image takes the place of the last, whose memory is free then, and its decoder's.
            if essence.crop is not None:
                image = image.crop(essence.crop)
            if essence.orientation in _TURNS:
                image = image.transpose(_TURNS[essence.orientation])
            image = _rgb(image)
            pixels = _resized(image, size).tobytes()
        # Before the next one may take as much.
        del image
        return pixels


def _bytes_for(essence: Essence, size: tuple[int, int], max_pixels: int) -> int:
    """What decoding takes at most. Raises TooLarge where that is more than BYTES_PER_PIXEL for each of max_pixels, by
    which a process's memory is bounded.
    """
    pixels, most = size[0] * size[1], max_pixels * BYTES_PER_PIXEL // essence.bytes_per_pixel
    if pixels > most:
        raise TooLarge(
            f"The image has {size[0]} x {size[1]} pixels; at most {most} in all are taken of "
            f"{openers.NAMES[essence.format]}, which takes more memory than other formats."
        )
    return pixels * essence.bytes_per_pixel


@contextmanager
def _refusing() -> Iterator[None]:
    """Whatever Pillow raises, as BadImage. Decoders of hostile bytes raise OSError, SyntaxError, struct.error, …

    MemoryError is passed on: a process whose memory is bounded has reached its bound.
    """
    try:
        yield
    except (ImageQueueError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadImage("The image cannot be decoded: its header is broken.") from error
    except Exception as error:
        raise BadImage(f"The image cannot be decoded: {str(error) or 'it is broken'}.") from error


def _rgb(image: Image.Image) -> Image.Image:
    # Pillow's convert would copy every pixel of what is RGB already.
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    # It scales colour of 16 bits to 8, but cuts grey of 16 bits off at 255: all white.
    if image.mode.startswith("I;16") and image.mode != "I;16":
        # Of another order of bytes, which Pillow does not compute with.
        image = image.convert("I")
    if image.mode in ("I", "I;16"):
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """An image that has transparency, on white: 8 bytes for each pixel beside its own 4."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


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
