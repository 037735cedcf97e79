"""A HEIC with the structure of an iPhone's (iOS 18): tiles, and items that a decoder of the picture has no use for."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from PIL import Image, ImageCms

from imagequeue.formats.isobmff import boxes
from imagequeue.formats.items import Items
from tests.support.isobmff import box
from tests.support.pictures import encode

TILE = 512
BRANDS = b"heic" + bytes(4) + b"mif1MiHBMiHEMiPrmiafheictmap"
# Kinds of pictures that are not shown by themselves, and how large they are beside the picture: 1 / n.
AUXILIARY = {
    b"urn:com:apple:photo:2020:aux:hdrgainmap": 2,
    b"urn:mpeg:hevc:2015:auxid:2": 4,
    b"urn:com:apple:photo:2018:aux:portraiteffectsmatte": 2,
    b"urn:com:apple:photo:2019:aux:semanticskinmatte": 4,
}
_IN_FILE, _IN_IDAT = 0, 1
# 90 degrees clockwise, as of a telephone that is held upright.
_TURNED = (b"irot", b"\3", True)

Property = tuple[bytes, bytes, bool]


@dataclass
class _Item:
    kind: bytes
    content: bytes
    properties: list[Property] = field(default_factory=list)
    references: list[tuple[bytes, list[int]]] = field(default_factory=list)
    is_hidden: bool = True
    where: int = _IN_FILE


def photograph(picture: Image.Image) -> bytes:
    """picture: as the sensor has it; the file's is turned by 90 degrees clockwise."""
    width, height = picture.size
    columns, rows = -(-width // TILE), -(-height // TILE)
    icc = (b"colr", b"prof" + ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), False)
    shape = (b"ispe", struct.pack(">III", 0, width, height), False)
    depth = (b"pixi", b"\0\0\0\0\3\x08\x08\x08", False)
    items = []
    for row in range(rows):
        for column in range(columns):
            # Beyond the picture's edge crop leaves black.
            tile = picture.crop((column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))
            items.append(_coded(tile, icc))
    primary = len(items) + 1
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    items.append(
        _Item(b"grid", grid, [icc, shape, depth, _TURNED], [(b"dimg", list(range(1, primary)))], False, _IN_IDAT)
    )
    for kind, part in AUXILIARY.items():
        items.append(_coded(picture.convert("L").resize((width // part, height // part))))
        items[-1].properties += [(b"auxC", bytes(4) + kind + b"\0", True), _TURNED]
        items[-1].references.append((b"auxl", [primary]))
    light = (b"clli", struct.pack(">HH", 1000, 400), False)
    nclx = (b"colr", b"nclx" + struct.pack(">HHHB", 12, 16, 1, 0x80), False)
    toned = [primary, primary + 1]
    items.append(_Item(b"tmap", bytes(62), [nclx, shape, depth, light, _TURNED], [(b"dimg", toned)], False, _IN_IDAT))
    group = [len(items), primary]
    items.append(_coded(picture.resize((320, 240))))
    items[-1].properties.append(_TURNED)
    items[-1].references.append((b"thmb", [primary]))
    items.append(
        _Item(b"Exif", struct.pack(">I", 6) + b"Exif\0\0MM\0*\0\0\0\x08" + bytes(6), references=[(b"cdsc", group)])
    )
    items.append(_Item(b"mime", b"<x:xmpmeta/>", references=[(b"cdsc", [primary + 1])]))
    return _written(items, primary, group)


def _coded(picture: Image.Image, *more: Property) -> _Item:
    file = encode(picture, "HEIC", quality=95)
    found = Items(file, next(part for part in boxes(file) if part.kind == b"meta"))
    item = found[found.primary]
    kept = [part for part in found.properties(item) if part.kind in (b"hvcC", b"ispe", b"pixi")]
    return _Item(item.kind, found.content(item), [*more, *kept])


def _written(items: list[_Item], primary: int, group: list[int]) -> bytes:
    head = _head(items, primary, group, 0)
    media = b"".join(item.content for item in items if item.where == _IN_FILE)
    return _head(items, primary, group, len(head) + 8) + box(b"mdat", media)


def _head(items: list[_Item], primary: int, group: list[int], start: int) -> bytes:
    """start: where the media begin."""
    properties = list(dict.fromkeys(part[:2] for item in items for part in item.properties))
    located, infos, refers, owned = [], [], [], []
    at = [start, 0]
    for number, item in enumerate(items, 1):
        located.append(struct.pack(">HHHHII", number, item.where, 0, 1, at[item.where], len(item.content)))
        at[item.where] += len(item.content)
        kind = item.kind + b"\0" + (b"application/rdf+xml\0" if item.kind == b"mime" else b"")
        infos.append(box(b"infe", struct.pack(">IHH", 0x02000000 | item.is_hidden, number, 0), kind))
        refers += [box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to)) for kind, to in item.references]
        places = [properties.index(part[:2]) + 1 | part[2] << 7 for part in item.properties]
        owned.append(struct.pack(f">HB{len(places)}B", number, len(places), *places))
    count = struct.pack(">H", len(items))
    altr = struct.pack(">5I", 0, 1000, len(group), *group)
    return box(b"ftyp", BRANDS) + box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"dinf", box(b"dref", bytes(4), struct.pack(">I", 1), box(b"url ", b"\0\0\0\1"))),
        box(b"pitm", bytes(4), struct.pack(">H", primary)),
        box(b"iinf", bytes(4), count, *infos),
        box(b"iref", bytes(4), *refers),
        box(
            b"iprp",
            box(b"ipco", *(box(*part) for part in properties)),
            box(b"ipma", bytes(4), struct.pack(">I", len(items)), *owned),
        ),
        box(b"idat", *(item.content for item in items if item.where == _IN_IDAT)),
        box(b"iloc", b"\1\0\0\0\x44\0", count, *located),
        box(b"grpl", box(b"altr", altr)),
    )
