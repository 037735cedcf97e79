"""Which formats are read here, and how a file of one is opened: Pillow's plugins, each loaded when it is first needed.

Pillow would find a plugin by itself, by loading all that it has. The libraries of AVIF and HEIC have tens of megabytes,
which a process that decodes nothing is spared.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from PIL import Image, features

from imagequeue.errors import BadImage

# By Pillow's name of a format, what people call it.
NAMES = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "GIF": "GIF",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "JPEG2000": "JPEG 2000",
    "AVIF": "AVIF",
    "HEIC": "HEIC",
}
_PLUGINS = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "WEBP": "WebPImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "TIFF": "TiffImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "AVIF": "AvifImagePlugin",
}
# Of Pillow's features, the one without which a format is not decoded; a build may lack it.
_FEATURES = {"TIFF": "libtiff", "JPEG2000": "jpg_2000", "AVIF": "avif"}
# Those that this process cannot decode although it has what does.
_GIVEN_UP: set[str] = set()


def opened(file: bytes, format: str) -> Image.Image:
    """A file of this format, and of no other, its header read. Raises BadImage where it is not read here.

    Passes on whatever the plugin raises.
    """
    open_one = _opener(format)
    if open_one is None or format in _GIVEN_UP:
        raise BadImage(refusal(NAMES[format]))
    return open_one(file)


def is_read(format: str) -> bool:
    """Whether this process can decode it; what that takes is loaded by now."""
    return format not in _GIVEN_UP and _opener(format) is not None


def give_up(format: str) -> None:
    """It is refused by its name from now on."""
    _GIVEN_UP.add(format)


def refusal(name: str) -> str:
    """What is said of a format that is not read here."""
    return f"{name[:1].upper()}{name[1:]} is not read by this server; send {listed()}."


def listed() -> str:
    """The names of those that are read here: `JPEG, PNG or GIF`."""
    *names, last = [name for format, name in NAMES.items() if is_read(format)]
    return f"{', '.join(names)} or {last}"


@cache
def _opener(format: str) -> Callable[[bytes], Image.Image] | None:
    if format == "HEIC":
        return _heic_opener()
    if format in _FEATURES and not features.check(_FEATURES[format]):
        return None
    plugin: Any = import_module(f"PIL.{_PLUGINS[format]}")
    if format == "TIFF":
        # Strips that are not compressed, too: Pillow would decode them one by one, some of them wrongly.
        plugin.READ_LIBTIFF = True
    if format == "AVIF":
        # Decoder processes may not start any; libavif and dav1d are content with the one that calls them.
        plugin.DEFAULT_MAX_THREADS = 1
    return lambda file: Image.open(io.BytesIO(file), formats=(format,))


def _heic_opener() -> Callable[[bytes], Image.Image] | None:
    try:
        from pillow_heif import HeifImageFile, libheif_info, options

        has_decoder = bool(libheif_info()["decoders"])
    except ImportError:
        return None
    if not has_decoder:
        return None
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    # Tiles one after the other, by the thread that calls; libde265 has one of its own all the same.
    options.DECODE_THREADS = 0
    return lambda file: HeifImageFile(io.BytesIO(file))
