"""The items of a file are listed in bounded steps, and their bytes taken from where they are."""

from __future__ import annotations

import pytest

from imagequeue.errors import BadImage
from imagequeue.formats.isobmff import boxes
from imagequeue.formats.items import MAX_ITEMS, Items
from tests.support import isobmff
from tests.support.hostile import colours
from tests.support.pictures import encode


def listed(file: bytes) -> Items:
    (meta,) = (part for part in boxes(file) if part.kind == b"meta")
    return Items(file, meta)


def test_the_picture_has_its_kind_its_properties_and_its_bytes() -> None:
    file = encode(colours(mode="RGBA"), "AVIF")
    items = listed(file)
    picture = items[items.primary]
    assert picture.kind == b"av01"
    assert {b"ispe", b"pixi", b"av1C"} <= {found.kind for found in items.properties(picture)}
    assert items.content(picture) in file
    (alpha,) = items.referring(b"auxl", items.primary)
    assert items.content(items[alpha]) != items.content(picture)


def test_what_is_in_the_description_itself_is_found() -> None:
    items = listed(isobmff.described())
    assert items.content(items[1]) == b"\0\0\0\0\0\x40\0\x40"


def test_more_items_than_are_taken_are_refused() -> None:
    assert listed(isobmff.described(items=MAX_ITEMS)).primary == 1
    with pytest.raises(BadImage, match="more than 2000 items"):
        listed(isobmff.described(items=MAX_ITEMS + 1))


def test_bytes_beyond_the_end_are_missed_when_they_are_asked_for() -> None:
    items = listed(encode(colours(), "AVIF")[:-1])
    with pytest.raises(BadImage, match="cut off"):
        items.content(items[items.primary])
