"""How a picture has to be turned, from its EXIF or XMP metadata; broken metadata turn nothing.

Pillow's reader reads the value of every entry, of which there may be 65,535, and its correction of the orientation
writes all of them back, which fails for values that it reads. This one looks for one entry.
"""

from __future__ import annotations

import re
import struct

UPRIGHT = 1
TAG = 0x0112
# The first directory of a camera's file has about a dozen entries.
MAX_ENTRIES = 1000
_ENTRY_BYTES = 12
# How a value of each of these types is stored at the beginning of an entry's last four bytes: BYTE, SHORT, LONG.
_TYPES = {1: "B", 3: "H", 4: "I"}
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def of_exif(exif: bytes) -> int:
    """The orientation, 1 to 8, in a TIFF header and its first directory; 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + _ENTRY_BYTES * min(count, MAX_ENTRIES), _ENTRY_BYTES):
            tag, kind, values = struct.unpack_from(order + "HHI", exif, at)
            if tag == TAG and kind in _TYPES and values == 1:
                return _valid(struct.unpack_from(order + _TYPES[kind], exif, at + 8)[0])
    except struct.error:
        # It ends too early.
        return UPRIGHT
    return UPRIGHT


def of_xmp(xmp: bytes) -> int:
    """The orientation, 1 to 8, in an XMP document; 1 where there is none."""
    found = _XMP.search(xmp)
    return int(found[1]) if found else UPRIGHT


def _valid(value: int) -> int:
    return value if 1 <= value <= 8 else UPRIGHT
