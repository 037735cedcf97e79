"""A format that this installation cannot decode is refused by its name, with those that it can."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from PIL import features

from imagequeue import images, openers
from imagequeue.errors import BadImage
from tests.support.hostile import colours
from tests.support.isobmff import box
from tests.support.pictures import encode


@pytest.fixture(autouse=True)
def _found_anew() -> Iterator[None]:
    openers._opener.cache_clear()
    yield
    openers._opener.cache_clear()
    openers._GIVEN_UP.clear()


def refusal(upload: bytes) -> str:
    with pytest.raises(BadImage) as refused:
        images.decode(upload, size=(4, 4), max_bytes=2**20, max_pixels=10**6)
    return refused.value.message


def test_without_pillow_heif_heic_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic = box(b"ftyp", b"heic", bytes(4), b"mif1heic") + bytes(100)
    assert refusal(heic) == (
        "HEIC is not read by this server; send JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000 or AVIF."
    )


def test_where_pillow_lacks_a_codec_its_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {format: encode(colours(), format) for format in ("TIFF", "JPEG2000", "AVIF")}
    openers._opener.cache_clear()
    monkeypatch.setattr(features, "check", lambda feature: False)
    for format, file in files.items():
        assert refusal(file).startswith(f"{openers.NAMES[format]} is not read by this server; send JPEG, PNG, ")
        assert openers.NAMES[format] not in refusal(file).partition(";")[2]


def test_a_format_that_is_given_up_is_named_from_then_on() -> None:
    assert openers.is_read("AVIF")
    openers.give_up("AVIF")
    assert refusal(encode(colours(), "AVIF")).startswith("AVIF is not read by this server")


def test_a_file_is_opened_as_its_own_format_and_no_other() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        openers.opened(encode(colours(), "PNG"), "TIFF")
