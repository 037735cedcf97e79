"""A format that is not read is known by its first bytes."""

from __future__ import annotations

import struct

import pytest

from imagequeue.formats import unread


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (b"\xff\x0a\0", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop (PSD)"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\1\0\1\0", "an icon (ICO, CUR)"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
        (b"\xef\xbb\xbf <svg>", "SVG"),
        (b"<!DOCTYPE html><title>502</title>", "HTML"),
        (b"P6\n1 1\n255\n", "Netpbm (PNM)"),
        (struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0), "a video (MP4 or MOV)"),
        (struct.pack(">I4s4sI", 16, b"ftyp", b"crx ", 0), "a camera's raw data (CR3)"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
        (b"IIU\0\x18\0\0\0", "a camera's raw data (RW2)"),
    ],
)
def test_it_has_its_name(file: bytes, name: str) -> None:
    assert unread.name(file) == name


@pytest.mark.parametrize("file", [b"", b"\0", bytes(100), b"a text", b"{}", b" " * 10**6])
def test_what_is_nothing_has_none(file: bytes) -> None:
    assert unread.name(file) is None
