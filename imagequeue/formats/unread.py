"""Formats that are known by their first bytes, and not read here: their names, for whoever has sent one."""

from __future__ import annotations

import re

from imagequeue.formats.heif import brands

# By how a file begins, the longer beginnings first.
_BEGINNINGS = (
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\0\0\2\0\0\0\0\0", "Targa (TGA)"),
    (b"\0\0\x0a\0\0\0\0\0", "Targa (TGA)"),
    (b"icns", "an icon (ICNS)"),
    (b"II\xbc\1", "JPEG XR"),
    (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"FLIF", "FLIF"),
    (b"BPG\xfb", "BPG"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"AT&TFORM", "DjVu"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"FUJIFILMCCD-RAW", "a camera's raw data (RAF)"),
    (b"IIRO", "a camera's raw data (ORF)"),
    (b"IIRS", "a camera's raw data (ORF)"),
    (b"MMOR", "a camera's raw data (ORF)"),
    (b"IIU\0", "a camera's raw data (RW2)"),
    (b"FOVb", "a camera's raw data (X3F)"),
    (b"\0MRM", "a camera's raw data (MRW)"),
    (b"\x1aE\xdf\xa3", "a video (WebM or Matroska)"),
    (b"PK\3\4", "an archive (ZIP)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
)
# A type, and then how many there are.
_ICON = re.compile(rb"\0\0[\1\2]\0[^\0]")
_NETPBM = re.compile(rb"P[1-7][ \t\r\n]")
_MARKUP = re.compile(rb"<[!?a-zA-Z]")
# In a document of XML, how far from its beginning its first element is looked for.
_MARKUP_BYTES = 4096


def name(file: bytes) -> str | None:
    """The format's name, or None for a file of none that is known."""
    for beginning, found in _BEGINNINGS:
        if file.startswith(beginning):
            return found
    if its := brands(file):
        return "a camera's raw data (CR3)" if its[0] == b"crx " else "a video (MP4 or MOV)"
    if file[:4] == b"RIFF" and file[8:11] == b"AVI":
        return "a video (AVI)"
    if _ICON.match(file):
        return "an icon (ICO, CUR)"
    if _NETPBM.match(file):
        return "Netpbm (PNM)"
    head = file[:_MARKUP_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if _MARKUP.match(head):
        return "HTML" if b"<html" in head or b"<!doctype html" in head else "SVG" if b"<svg" in head else "XML"
    return None
