"""AVIF and HEIC: a file of items, one of which is the picture; it may be made of tiles, and have another for its alpha.

What a decoder gets is a new file of nothing but that picture, its tiles and its alpha, each with the few properties
that its pixels depend on: no metadata, thumbnails, maps of depth or gain, sequences, or items that refer to each other
in circles. Cropping and turning come after decoding, by the same code for both formats: Pillow's reader of AVIF does
neither, libheif both. EXIF turns nothing here, as ISO/IEC 23008-12 has it: the properties irot and imir do.
"""

from __future__ import annotations

from imagequeue.errors import BadImage
from imagequeue.formats import av1, hevc
from imagequeue.formats.essence import SMALL_TILE, Essence
from imagequeue.formats.isobmff import Fields, box, boxes
from imagequeue.formats.itemfile import Kept, Reference, written
from imagequeue.formats.items import Item, Items
from imagequeue.formats.view import View

AVIF, HEIC = "AVIF", "HEIC"
BRANDS = frozenset(b"avif avis heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf 1pic".split())
# What decoding takes for each pixel at the most, without alpha and with it; docs/internals.md has the measurements.
BYTES_PER_PIXEL = {AVIF: (15, 18), HEIC: (17, 22)}
# Of one of the properties that are kept; a codec's parameters have some hundreds.
MAX_PROPERTY_BYTES = 16 * 1024
# Of the brands that a file says it has, as many are looked at.
_MAX_BRANDS = 64
# A codec's blocks go beyond a picture's edge by so much at most.
_BLOCK = 64

_CODED = {b"av01": (AVIF, b"av1C", av1), b"hvc1": (HEIC, b"hvcC", hevc)}
# Of these a decoder's pixels depend; where colour has a profile instead of numbers, it is left out.
_KEPT = frozenset({b"ispe", b"pixi", b"av1C", b"hvcC", b"colr", b"auxC", b"a1op", b"a1lx", b"lsel"})
_PROFILES = (b"prof", b"rICC")
_DONE_HERE = frozenset({b"clap", b"irot", b"imir"})
_UNNEEDED = frozenset({b"pasp", b"clli", b"mdcv", b"cclv", b"amve", b"ndwt", b"rloc", b"udes", b"rref"})
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")


def is_heif(file: bytes) -> bool:
    """Whether the file says that it is of one of BRANDS."""
    return bool(BRANDS & set(brands(file)))


def stated_format(file: bytes) -> str:
    """What a file says that it is, by its brands; its picture may be another."""
    return AVIF if {b"avif", b"avis"} & set(brands(file)) else HEIC


def brands(file: bytes) -> list[bytes]:
    """Those of the box with which a file begins, the main one first; none where it begins otherwise."""
    if file[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(file[:4], "big"), len(file), 16 + 4 * _MAX_BRANDS)
    return [file[8:12], *(file[at : at + 4] for at in range(16, end - 3, 4))]


def essence(file: bytes) -> Essence:
    """Raises BadImage for more of anything than is taken, for kinds of pictures that are not read, and for sizes that
    are not those of the pictures themselves.
    """
    top = {part.kind: part for part in reversed(list(boxes(file)))}
    if b"meta" not in top:
        what = "a sequence, and no picture" if b"moov" in top else "no picture"
        raise BadImage(f"The file is an AVIF or HEIC with {what}.")
    return _Reader(file, Items(file, top[b"meta"])).essence()


class _Reader:
    def __init__(self, file: bytes, items: Items) -> None:
        self._file = file
        self._items = items
        self._kept: list[Kept] = []
        self._references: list[Reference] = []
        self._checked: set[object] = set()
        # What parameters say that thousands of tiles may share.
        self._stated: dict[bytes, list[tuple[int, int]]] = {}
        self._left = 2 * len(file)
        self._format = ""

    def essence(self) -> Essence:
        number = self._items.primary
        picture = self._items[number]
        self._keep(picture)
        shown, has_alpha = self._kept[0].size, False
        for alpha in self._items.referring(b"auxl", number):
            if self._is_alpha(self._items[alpha]):
                self._keep_alpha(alpha, picture)
                has_alpha = True
                break
        view = self._view(picture, shown)
        return Essence(
            written(self._file, self._format.lower().encode(), self._kept, self._references),
            self._format,
            view.orientation,
            shown,
            crop=view.crop,
            bytes_per_pixel=BYTES_PER_PIXEL[self._format][has_alpha],
        )

    def _keep(self, item: Item) -> int:
        """The item's number in the new file, in which it and its tiles are from now on."""
        number = len(self._kept) + 1
        if item.kind in _CODED:
            self._kept.append(self._coded(item))
        elif item.kind == b"grid":
            tiles = [self._items[tile] for tile in item.references.get(b"dimg", ())]
            self._kept.append(self._grid(item, tiles))
            numbers = []
            for tile in tiles:
                self._kept.append(self._coded(tile))
                numbers.append(len(self._kept))
            self._references.append((b"dimg", number, numbers))
        else:
            name = repr(item.kind.decode("latin-1")) if item.kind.isalnum() else "that is not known"
            raise BadImage(f"The file's picture is of a kind {name}, which is not read here; AV1 and HEVC are.")
        return number

    def _keep_alpha(self, number: int, picture: Item) -> None:
        new = self._keep(self._items[number])
        if self._kept[new - 1].size != self._kept[0].size:
            raise BadImage("The file's alpha is not as large as its picture.")
        self._references.append((b"auxl", new, [1]))
        if number in picture.references.get(b"prem", ()):
            self._references.append((b"prem", 1, [new]))

    def _coded(self, item: Item) -> Kept:
        if item.kind not in _CODED:
            raise BadImage("The file's picture has tiles of a kind that is not read here; AV1 and HEVC are.")
        format, configuration, codec = _CODED[item.kind]
        if self._format not in ("", format):
            raise BadImage("The file's picture is partly AV1 and partly HEVC.")
        self._format = format
        size, properties, contents = self._properties(item)
        if configuration not in contents:
            raise BadImage(f"The {format} has no parameters of its picture.")
        # Encoders store equal tiles once.
        key = (tuple(item.extents), contents[configuration])
        if key not in self._checked:
            self._checked.add(key)
            self._left -= sum(end - start for start, end in item.extents)
            if self._left < 0:
                raise BadImage(f"The {format} has pictures of more bytes than the file has.")
            if (parameters := contents[configuration]) not in self._stated:
                self._stated[parameters] = list(codec.stated_sizes(parameters))
            found = self._stated[parameters] + list(codec.own_sizes(parameters, self._items.content(item)))
            if not found:
                raise BadImage(f"The {format} is cut off before its picture's own header.")
            for width, height in found:
                # A decoder would take memory for what is larger, and stretch what is smaller.
                if not (0 <= width - size[0] <= _BLOCK and 0 <= height - size[1] <= _BLOCK):
                    raise BadImage(f"The {format} says {size[0]} x {size[1]} pixels and has {width} x {height}.")
        return Kept(item, item.kind, properties, size)

    def _grid(self, item: Item, tiles: list[Item]) -> Kept:
        """Of a picture that is made of tiles, row by row (ISO/IEC 23008-12, 6.6.2.3)."""
        content = self._items.content(item)
        fields = Fields(content, 0, len(content))
        fields.number(1)
        size_bytes = 4 if fields.number(1) & 1 else 2
        rows, columns = fields.number(1) + 1, fields.number(1) + 1
        stated = fields.number(size_bytes), fields.number(size_bytes)
        size, properties, _ = self._properties(item)
        if stated != size or rows * columns != len(tiles):
            raise BadImage("The file's picture is not as large as its tiles, or lacks some.")
        tile_sizes = {self._properties(tile)[0] for tile in tiles}
        if len(tile_sizes) != 1:
            raise BadImage("The tiles of the file's picture are not of one size.")
        for side, count, tile in zip(size, (columns, rows), tile_sizes.pop(), strict=True):
            if not (count - 1) * tile < side <= count * tile or tile > max(side, SMALL_TILE):
                raise BadImage("The file's picture is not as large as its tiles, or lacks some.")
        return Kept(item, b"grid", properties, size)

    def _properties(self, item: Item) -> tuple[tuple[int, int], tuple[tuple[bytes, bool], ...], dict[bytes, bytes]]:
        """The item's size; the boxes that are kept, and whether they are essential; the contents of all, by kind."""
        kept, contents = [], {}
        for kind, content, is_essential in self._items.properties(item):
            if is_essential and kind not in _KEPT | _DONE_HERE | _UNNEEDED:
                raise BadImage(f"The file's picture has a property {kind!r}, which is not read here.")
            contents[kind] = content
            if kind in _KEPT and len(content) > MAX_PROPERTY_BYTES and content[:4] not in _PROFILES:
                raise BadImage(f"The file's picture has a property of more than {MAX_PROPERTY_BYTES} bytes.")
            if kind in _KEPT and (kind != b"colr" or content[:4] == b"nclx"):
                kept.append((box(kind, content), is_essential))
        fields = Fields(contents.get(b"ispe", b""), 0, len(contents.get(b"ispe", b"")))
        fields.version()
        size = fields.number(4), fields.number(4)
        if not all(size):
            raise BadImage("The file's picture has no pixels.")
        return size, tuple(kept), contents

    def _is_alpha(self, item: Item) -> bool:
        return any(
            kind == b"auxC" and content[4:].partition(b"\0")[0] in _ALPHA
            for kind, content, _ in self._items.properties(item)
        )

    def _view(self, item: Item, size: tuple[int, int]) -> View:
        view = View(size)
        for kind, content, _ in self._items.properties(item):
            view.apply(kind, content)
        return view
