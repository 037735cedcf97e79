"""BMP: a header, a palette and rows; some are run-length encoded."""

from __future__ import annotations

import struct

from imagequeue.errors import BadImage
from imagequeue.formats.essence import Essence

SIGNATURE = b"BM"
# Pillow unpacks runs in Python: a tenth of a microsecond for a pixel, half a microsecond for a run of two bytes. The
# screen dumps that are stored in this way have 256 colours, and such screens had two megapixels at most.
MAX_RLE_PIXELS, MAX_RLE_BYTES = 4_000_000, 1_000_000

# Of the header that has a compression.
_MIN_HEADER = 40
_RLE8, _RLE4 = 1, 2


def essence(file: bytes) -> Essence:
    """Raises BadImage for a run-length encoded file that is larger than is taken."""
    if len(file) >= 34:
        header, width, height = struct.unpack_from("<Iii", file, 14)
        (compression,) = struct.unpack_from("<I", file, 30)
        if header >= _MIN_HEADER and compression in (_RLE8, _RLE4):
            if len(file) > MAX_RLE_BYTES:
                raise BadImage(
                    f"The BMP is run-length encoded and has {len(file)} bytes; "
                    f"at most {MAX_RLE_BYTES} of such are taken."
                )
            if abs(width) * abs(height) > MAX_RLE_PIXELS:
                raise BadImage(
                    f"The BMP is run-length encoded and has {width} x {abs(height)} pixels; "
                    f"at most {MAX_RLE_PIXELS} of such are taken."
                )
    return Essence(file, "BMP")
