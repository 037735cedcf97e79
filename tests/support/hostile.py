"""Files that somebody might upload to do harm, or that a careless decoder would trip over; all are made here.

Each has a name and a verdict: "pixels" (it is an image, if an odd one), "bad" (no readable image), "large" (more
pixels than the limit), or "any" (pixels or "bad"; the decoders' versions differ).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, ImageCms

from tests.support import directories, isobmff
from tests.support.pictures import HAS_HEIC, encode
from tests.support.segments import (
    SIGNATURE,
    boundaries,
    jpeg_segment,
    jpeg_segments,
    png,
    png_chunk,
    png_chunks,
    png_header,
    riff,
    riff_chunks,
)

ORIENTATION = 0x0112
HUGE = 65_000
TALL = "png of 49 million zeros"


class Hostile(NamedTuple):
    name: str
    file: bytes
    verdict: str


def colours(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A picture with something in every channel."""
    gradient = Image.linear_gradient("L").resize(size)
    turned = gradient.transpose(Image.Transpose.ROTATE_180)
    image = Image.merge("RGB", (gradient, turned, Image.new("L", size, 90)))
    if mode in ("LA", "RGBA"):
        image.putalpha(gradient)
    return image.convert(mode)


def odd() -> Iterator[Hostile]:
    """Proper images of kinds that are seldom met."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield Hostile(f"png {mode}", encode(colours(mode=mode)), "pixels")
    yield Hostile("png with a transparent palette", encode(colours(mode="P"), transparency=bytes(range(200))), "pixels")
    rows = b"".join(b"\0" + struct.pack(">HHH", 200 * 257, 100 * 257, 50 * 257) * 8 for _ in range(8))
    sixteen = png(png_header(8, 8, depth=16), png_chunk(b"IDAT", zlib.compress(rows)))
    yield Hostile("png 16 bits a channel", sixteen, "pixels")
    yield Hostile("png interlaced", interlaced_png(), "pixels")
    for mode in ("L", "CMYK"):
        yield Hostile(f"jpeg {mode}", encode(colours(mode=mode), "JPEG"), "pixels")
    yield Hostile("jpeg progressive", encode(colours(), "JPEG", progressive=True), "pixels")
    yield Hostile("jpeg arithmetic", arithmetic_jpeg(), "any")
    frames = [Image.new("RGB", (20, 20), (i, 0, 0)) for i in range(0, 250, 50)]
    for format in ("GIF", "WEBP", "PNG"):
        animation = encode(frames[0], format, save_all=True, append_images=frames[1:])
        yield Hostile(f"animated {format.lower()}", animation, "pixels")
    yield Hostile("gif of 10,000 frames", many_frames_gif(10_000), "pixels")
    for mode in ("1", "L", "P", "RGB"):
        yield Hostile(f"bmp {mode}", encode(colours(mode=mode), "BMP"), "pixels")


def odd_later() -> Iterator[Hostile]:
    """The same of the formats that came later: TIFF, JPEG 2000, AVIF, HEIC."""
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I;16B"):
        image = colours(mode="L" if mode.startswith("I") else "RGBA" if mode == "PA" else mode).convert(mode)
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
            yield Hostile(f"tiff {mode} {compression}", encode(image, "TIFF", compression=compression), "pixels")
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield Hostile(f"tiff {compression}", encode(colours(mode="1"), "TIFF", compression=compression), "pixels")
    yield Hostile("tiff jpeg", encode(colours(), "TIFF", compression="jpeg"), "pixels")
    for mode in ("F", "I"):
        yield Hostile(f"tiff {mode}", encode(colours(mode="L").convert(mode), "TIFF"), "bad")
    yield Hostile("tiff of two pages", encode(colours(), "TIFF", save_all=True, append_images=[colours()]), "pixels")
    for mode in ("L", "LA", "RGB", "RGBA"):
        for options in ({}, {"no_jp2": True}, {"tile_size": (16, 16)}):
            yield Hostile(f"jp2 {mode} {options}", encode(colours(mode=mode), "JPEG2000", **options), "pixels")
    for format in ("AVIF", "HEIC") if HAS_HEIC else ("AVIF",):
        for mode in ("L", "LA", "RGB", "RGBA"):
            yield Hostile(f"{format} {mode}", encode(colours(mode=mode), format), "pixels")
    yield Hostile("animated avif", encode(colours(), "AVIF", save_all=True, append_images=[colours()]), "pixels")


def lies_later() -> Iterator[Hostile]:
    """Sizes, counts, places and circles that are not so, of TIFF, JPEG 2000, AVIF and HEIC."""
    yield from (Hostile(name, file, "bad") for name, file in directories.lies())
    tiff = encode(colours(), "TIFF", compression="tiff_lzw")
    yield Hostile(
        "tiff that claims 65,000 x 65,000", directories.changed(tiff, {256: HUGE, 257: HUGE, 278: HUGE}), "large"
    )
    jp2 = encode(colours(), "JPEG2000")
    yield Hostile("jp2 of 16,384 components", jp2.replace(jp2_components(3), jp2_components(16_384)), "bad")
    yield Hostile("jp2 that claims 65,000 x 65,000", with_jp2_size(jp2, HUGE, HUGE), "large")
    yield Hostile("jp2 whose boxes and pixels differ", jp2.replace(struct.pack(">II", 32, 48), bytes(8), 1), "bad")
    at = jp2.index(b"\xff\x4f\xff\x51") + 24
    yield Hostile("jp2 of many tiles", jp2[:at] + struct.pack(">II", 1, 1) + jp2[at + 8 :], "bad")
    yield Hostile("jp2 in 10,000 boxes", jp2[:12] + b"\0\0\0\x08free" * 10_000 + jp2[12:], "bad")
    for format in ("AVIF", "HEIC") if HAS_HEIC else ("AVIF",):
        file = encode(colours(), format)
        yield from (Hostile(f"{format} {name}", lie, verdict) for name, lie, verdict in isobmff.lies(file))
    for format in ("TIFF", "JPEG2000", "AVIF", "HEIC") if HAS_HEIC else ("TIFF", "JPEG2000", "AVIF"):
        file = encode(colours(), format)
        for cut in (1, 4, 8, 12, 16, 40, 100, len(file) // 2, len(file) - 1):
            yield Hostile(f"{format} cut off at {cut} of {len(file)}", file[:cut], "any")


def jp2_components(count: int) -> bytes:
    """How many the codestream has, and the first of them."""
    return struct.pack(">H", count) + b"\7\1\1"


def with_jp2_size(file: bytes, width: int, height: int) -> bytes:
    """In its boxes, and in its codestream, in one tile."""
    at = file.index(b"\xff\x4f\xff\x51") + 8
    file = file[:at] + struct.pack(">IIIIII", width, height, 0, 0, width, height) + file[at + 24 :]
    return file.replace(struct.pack(">II", 32, 48), struct.pack(">II", height, width), 1)


def sizes() -> Iterator[Hostile]:
    for size in ((1, 1), (1, 50_000), (50_000, 1)):
        for format in ("PNG", "JPEG", "GIF", "BMP"):
            yield Hostile(f"{format.lower()} {size[0]} x {size[1]}", encode(Image.new("RGB", size), format), "pixels")
    yield Hostile("webp 16383 x 1", encode(Image.new("RGB", (16383, 1)), "WEBP"), "pixels")
    yield Hostile("png 0 x 0", png(png_header(0, 0), png_chunk(b"IDAT", zlib.compress(b""))), "bad")
    yield Hostile("bmp 0 x 0", with_bmp_size(0, 0), "bad")
    yield Hostile("bmp of a negative width", with_bmp_size(-48, 32), "large")
    yield Hostile("bmp upside down", with_bmp_size(48, -32), "pixels")
    gif = encode(colours(), "GIF")
    yield Hostile("gif 0 x 0", gif[:6] + struct.pack("<HH", 0, 0) + gif[10:], "any")


def claims() -> Iterator[Hostile]:
    """A few bytes that claim to be many pixels."""
    yield Hostile("png that claims 65,000 x 65,000", png(png_header(HUGE, HUGE), png_chunk(b"IDAT", b"")), "large")
    yield Hostile("png that claims 2^31 x 2^31", png(png_header(2**31 - 1, 2**31 - 1)), "large")
    jpeg = b"".join(
        segment[:5] + struct.pack(">HH", HUGE, HUGE) + segment[9:] if segment[1] in (0xC0, 0xC2) else segment
        for segment in jpeg_segments(encode(colours(), "JPEG"))
    )
    yield Hostile("jpeg that claims 65,000 x 65,000", jpeg, "large")
    gif = encode(colours(), "GIF")
    yield Hostile("gif with a huge screen", gif[:6] + struct.pack("<HH", HUGE, HUGE) + gif[10:], "large")
    at = gif.index(b",\0\0\0\0" + struct.pack("<HH", 48, 32))
    yield Hostile("gif with a huge frame", gif[: at + 5] + struct.pack("<HH", HUGE, HUGE) + gif[at + 9 :], "large")
    canvas = struct.pack("<I", 16382)[:3] * 2
    vp8x = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    yield Hostile("webp with a huge canvas", riff(vp8x, *riff_chunks(encode(colours(), "WEBP"))), "large")
    animated = riff_chunks(encode(colours(), "WEBP", save_all=True, append_images=[Image.new("RGB", (48, 32))]))
    animated[0] = animated[0][:12] + canvas
    yield Hostile("animated webp with a huge canvas", riff(*animated), "large")
    yield Hostile("bmp that claims 65,000 x 65,000", with_bmp_size(HUGE, HUGE), "large")


def bombs() -> Iterator[Hostile]:
    """A few bytes that unpack to many."""
    zeros = zlib.compress(bytes(100 * 2**20), 6)
    header, idat = png_header(8, 8), png_chunk(b"IDAT", zlib.compress((b"\0" + bytes(24)) * 8))
    for kind, head in ((b"zTXt", b"bomb\0\0"), (b"iTXt", b"bomb\0\1\0\0\0"), (b"iCCP", b"bomb\0\0")):
        bomb = png_chunk(kind, head + zeros)
        name = kind.decode()
        yield Hostile(f"png with a bomb in {name}", png(header, bomb, idat), "pixels")
        yield Hostile(f"png with a bomb in {name} after its pixels", png(header, idat, bomb), "pixels")
    megabyte = png_chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(1_000_000), 9))
    yield Hostile("png with a thousand small bombs", png(header, megabyte * 1000, idat), "pixels")
    yield Hostile("png with a bomb for pixels", png(header, png_chunk(b"IDAT", zeros)), "any")
    tall = png(png_header(7000, 7000), png_chunk(b"IDAT", zlib.compress((b"\0" + bytes(21_000)) * 7000, 9)))
    yield Hostile(TALL, tall, "large")


def metadata() -> Iterator[Hostile]:
    for orientation in range(10):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        for format in ("JPEG", "PNG", "WEBP"):
            file = encode(colours(), format, exif=exif)
            yield Hostile(f"{format.lower()} with orientation {orientation}", file, "pixels")
    jpeg = encode(colours(), "JPEG")
    for number, exif_bytes in enumerate(broken_exif()):
        file = jpeg[:2] + jpeg_segment(0xE1, b"Exif\0\0" + exif_bytes) + jpeg[2:]
        yield Hostile(f"jpeg with broken exif {number}", file, "pixels")
        chunks = [png_chunk(*chunk) for chunk in png_chunks(encode(colours()))]
        yield Hostile(
            f"png with broken exif {number}", png(chunks[0], png_chunk(b"eXIf", exif_bytes), *chunks[1:-1]), "pixels"
        )
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, icc in (("good", profile), ("short", profile[:100]), ("broken", b"\xff" * 3000), ("empty", b"")):
        for format in ("JPEG", "PNG", "WEBP"):
            yield Hostile(
                f"{format.lower()} with a {name} profile", encode(colours(), format, icc_profile=icc), "pixels"
            )
    many = b"".join(jpeg_segment(0xE2, b"MPF\0" + bytes(60_000)) for _ in range(20))
    yield Hostile("jpeg with twenty empty indices of pictures", jpeg[:2] + many + jpeg[2:], "pixels")
    yield Hostile("jpeg with broken photoshop data", jpeg[:2] + photoshop() + jpeg[2:], "pixels")


def truncated() -> Iterator[Hostile]:
    """Each format cut off after each of its parts, and in the middle of each."""
    files = {"png": encode(colours()), "jpeg": encode(colours(), "JPEG"), "webp": encode(colours(), "WEBP")}
    pieces = {
        "png": boundaries([png_chunk(*chunk) for chunk in png_chunks(files["png"])], len(SIGNATURE)),
        "jpeg": boundaries(jpeg_segments(files["jpeg"])),
        "webp": boundaries(riff_chunks(files["webp"]), 12),
    }
    for format, file in files.items():
        for end in pieces[format]:
            for cut in sorted({end, end - 1, end - 5} - {len(file)}):
                yield Hostile(f"{format} cut off at {cut} of {len(file)}", file[:cut], "any")
    for format in ("GIF", "BMP"):
        file = encode(colours(), format)
        for cut in (1, 3, 6, 13, 20, 54, len(file) // 2, len(file) - 1):
            yield Hostile(f"{format.lower()} cut off at {cut} of {len(file)}", file[:cut], "any")


def lies() -> Iterator[Hostile]:
    """Lengths and offsets that are not so, and files of another kind."""
    chunks = png_chunks(encode(colours()))
    for number, (kind, content) in enumerate(chunks[:-1]):
        for length in (0, 1, len(content) + 1, 2**31 - 1, 2**32 - 1):
            parts = [png_chunk(k, c, length=length if i == number else None) for i, (k, c) in enumerate(chunks)]
            yield Hostile(f"png whose {kind.decode()} says {length}", SIGNATURE + b"".join(parts), "any")
    jpeg = jpeg_segments(encode(colours(), "JPEG"))
    for number, segment in enumerate(jpeg[1:-1], 1):
        for length in (0, 1, 2, len(segment), 65_535):
            lie = segment[:2] + struct.pack(">H", length) + segment[4:]
            file = b"".join([*jpeg[:number], lie, *jpeg[number + 1 :]])
            yield Hostile(f"jpeg whose segment {segment[1]:02x} says {length}", file, "any")
    webp = encode(colours(), "WEBP")
    for length in (0, 8, 2**31, 2**32 - 1):
        yield Hostile(f"webp that says {length}", webp[:4] + struct.pack("<I", length) + webp[8:], "any")
        yield Hostile(f"webp whose frame says {length}", webp[:16] + struct.pack("<I", length) + webp[20:], "any")
    bmp = encode(colours(), "BMP")
    for offset in (0, 14, 2**31 - 1, 2**32 - 1):
        yield Hostile(f"bmp whose pixels begin at {offset}", bmp[:10] + struct.pack("<I", offset) + bmp[14:], "any")
    for depth in (0, 1, 3, 16, 64, 65_535):
        yield Hostile(f"bmp of {depth} bits", bmp[:28] + struct.pack("<H", depth) + bmp[30:], "any")
    for name, file in (
        ("an icon", encode(colours(), "ICO")),
        ("a pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n"),
        ("a page", b"<!doctype html><svg onload=alert(1)>"),
        ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ("zeros", bytes(5000)),
    ):
        yield Hostile(name, file, "bad")


def interlaced_png() -> bytes:
    """8 x 8 in seven passes; Pillow reads these and does not write them."""
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    rows = b"".join((b"\0" + b"\xc8\x64\x32" * width) * height for width, height in passes)
    return png(png_header(8, 8, interlaced=True), png_chunk(b"IDAT", zlib.compress(rows)))


def arithmetic_jpeg() -> bytes:
    """A sequential JPEG whose frame claims arithmetic coding (SOF9); its scan is noise to such a decoder."""
    segments = jpeg_segments(encode(colours(), "JPEG"))
    return b"".join(b"\xff\xc9" + segment[2:] if segment[1] == 0xC0 else segment for segment in segments)


def many_frames_gif(count: int) -> bytes:
    """The same frame many times."""
    gif = encode(Image.new("P", (16, 16), 1), "GIF")
    start = gif.index(b",\0\0\0\0\x10\0\x10\0")
    return gif[:start] + gif[start:-1] * count + gif[-1:]


def with_bmp_size(width: int, height: int) -> bytes:
    bmp = encode(colours(), "BMP")
    return bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]


def broken_exif() -> Iterator[bytes]:
    yield from (b"", b"II", b"garbage garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08")
    entry = struct.pack("<HHII", ORIENTATION, 3, 1, 6)
    # A directory that says it has more entries than there are, one that is its own successor, one of endless values.
    yield b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + entry
    yield b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    yield b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, ORIENTATION, 3, 2**32 - 1, 8) + bytes(4)
    yield b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, ORIENTATION, 2, 4, 0) + bytes(4)


def photoshop() -> bytes:
    return jpeg_segment(0xED, b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HBBI", 0x03ED, 0, 0, 2**32 - 1) + bytes(9))


KINDS = (odd, odd_later, sizes, claims, bombs, metadata, truncated, lies, lies_later)
