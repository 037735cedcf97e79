"""Hypothesis strategies for image files that were valid once."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.hostile import ORIENTATION, colours
from tests.support.pictures import HAS_HEIC, encode
from tests.support.segments import SIGNATURE, jpeg_segments, png_chunk, png_chunks, riff, riff_chunks

# What lengths, sizes and counts are at their most unpleasant.
EDGES = (b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\x01")

Pieces = list[bytes]


def valid_files() -> dict[str, bytes]:
    """One small file of each kind that has a decoder, or a way through one, of its own."""
    exif = colours().getexif()
    exif[ORIENTATION] = 6
    frames = [colours().rotate(90), colours().rotate(180)]
    return {
        "png": encode(colours(), exif=exif),
        "png palette": encode(colours(mode="P"), transparency=bytes(range(99))),
        "png alpha": encode(colours(mode="RGBA")),
        "apng": encode(colours(), save_all=True, append_images=frames),
        "jpeg": encode(colours(), "JPEG", exif=exif),
        "jpeg progressive": encode(colours(), "JPEG", progressive=True),
        "jpeg cmyk": encode(colours(mode="CMYK"), "JPEG"),
        "gif": encode(colours(), "GIF", save_all=True, append_images=frames),
        "webp": encode(colours(), "WEBP", exif=exif),
        "webp lossless": encode(colours(mode="RGBA"), "WEBP", lossless=True),
        "webp animated": encode(colours(), "WEBP", save_all=True, append_images=frames),
        "tiff": encode(colours(), "TIFF"),
        "tiff lzw": encode(colours(mode="RGBA"), "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encode(colours(), "TIFF", compression="jpeg"),
        "tiff palette": encode(colours(mode="P"), "TIFF", compression="packbits"),
        "jp2": encode(colours(mode="RGBA"), "JPEG2000"),
        "j2k": encode(colours(), "JPEG2000", no_jp2=True, tile_size=(32, 32)),
        "avif": encode(colours(), "AVIF", exif=exif),
        "avif alpha": encode(colours(mode="RGBA"), "AVIF"),
        "avif animated": encode(colours(), "AVIF", save_all=True, append_images=frames),
        **({"heic": encode(colours(), "HEIC"), "heic alpha": encode(colours(mode="RGBA"), "HEIC")} if HAS_HEIC else {}),
        **({"heic tiles": encode(colours((130, 70)), "HEIC", tile_size=64)} if HAS_HEIC else {}),
        "bmp": encode(colours(), "BMP"),
        "bmp palette": encode(colours(mode="P"), "BMP"),
    }


@st.composite
def broken_bytes(draw: st.DrawFn, file: bytes) -> bytes:
    """The file with a few bytes changed, put in, taken out or doubled."""
    broken = bytearray(file)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(broken) - 1)))
        end = at + draw(st.integers(1, 64))
        how = draw(st.sampled_from(["flip", "edge", "insert", "delete", "double", "cut"]))
        if how == "flip" and broken:
            broken[at] ^= draw(st.integers(1, 255))
        elif how == "edge":
            edge = draw(st.sampled_from(EDGES))
            broken[at : at + len(edge)] = edge
        elif how == "insert":
            broken[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif how == "delete":
            del broken[at:end]
        elif how == "double":
            broken[at:at] = broken[at:end]
        elif how == "cut":
            del broken[at:]
    return bytes(broken)


@st.composite
def broken_pieces(draw: st.DrawFn, pieces: Pieces) -> Pieces:
    """The parts of a file, one of them lost, doubled, moved, emptied or broken inside."""
    changed = list(pieces)
    for _ in range(draw(st.integers(1, 3))):
        if not changed:
            break
        at = draw(st.integers(0, len(changed) - 1))
        how = draw(st.sampled_from(["break", "lose", "double", "move", "empty"]))
        if how == "break":
            changed[at] = draw(broken_bytes(changed[at]))
        elif how == "lose":
            del changed[at]
        elif how == "double":
            changed.insert(at, changed[at])
        elif how == "move":
            changed.insert(draw(st.integers(0, len(changed) - 1)), changed.pop(at))
        else:
            changed[at] = b""
    return changed


@st.composite
def broken_files(draw: st.DrawFn) -> bytes:
    """A file of any kind, broken anywhere or along its parts; PNG chunks have right checksums, to be looked into."""
    name = draw(st.sampled_from(sorted(FILES)))
    file = FILES[name]
    if draw(st.booleans()):
        return draw(broken_bytes(file))
    if "png" in name:
        chunks = png_chunks(file)
        contents = draw(broken_pieces([kind + content for kind, content in chunks]))
        return SIGNATURE + b"".join(png_chunk(content[:4], content[4:]) for content in contents)
    if "jpeg" in name:
        return b"".join(draw(broken_pieces(jpeg_segments(file))))
    if "webp" in name:
        return riff(*draw(broken_pieces(riff_chunks(file))))
    return draw(broken_bytes(file))


FILES = valid_files()
