"""Crafted WebPs: bombs of pixels and chunks, canvases and frames that lie."""

import struct

from PIL import Image

from tests.fuzz.pictures.crafted_jpegs import exif_directory
from tests.fuzz.pictures.formats import riff, riff_chunk, riff_chunks
from tests.fuzz.pictures.seeds import sound
from tests.fuzz.pictures.statuses import ACCEPTED, BROKEN, TAKEN_OR_BROKEN, TOO_LARGE
from tests.pictures import encoded

ICC, ALPHA, EXIF, XMP, ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02


def extended(width: int, height: int, flags: int, *inner: bytes, length: int | None = None) -> bytes:
    """A WebP with an extended header that announces a canvas."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(riff_chunk(b"VP8X", struct.pack("<I", flags) + size), *inner, length=length)


def picture(name: str = "webp") -> bytes:
    """The chunk that holds the pixels of a sound WebP of 96x72."""
    (part,) = (one for one in riff_chunks(sound()[name]) if one.kind in {b"VP8 ", b"VP8L"})
    return riff_chunk(part.kind, part.data)


def frame(x: int = 0, y: int = 0, width: int = 96, height: int = 72) -> bytes:
    """A frame of an animation that claims a place and a size."""
    numbers = b"".join(number.to_bytes(3, "little") for number in (x, y, width - 1, height - 1, 100))
    return riff_chunk(b"ANMF", numbers + b"\0" + picture())


def lossless(width: int, height: int) -> bytes:
    """The header of a lossless WebP, without its pixels."""
    return riff(riff_chunk(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(50)))


def lossy(width: int, height: int) -> bytes:
    """A lossy WebP that announces another size than its data has."""
    data = bytearray(sound()["webp"])
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", width, height)
    return bytes(data)


def blank(side: int, **options: object) -> bytes:
    """A picture of one colour."""
    return encoded(Image.new("RGB", (side, side), 128), "WEBP", **options)


BIG_EXIF = exif_directory(range(65_535), 7, 15_000_000, 8)[6:].ljust(18_000_000, b"\0")
ANIM = riff_chunk(b"ANIM", bytes(6))

FILES = [
    ("WebP canvas of 2^24 pixels square", lambda: extended(2**24, 2**24, 0, picture()), (*TOO_LARGE, *BROKEN)),
    ("WebP canvas of 65535x65535", lambda: extended(65_535, 65_535, 0, picture()), (*TOO_LARGE, *BROKEN)),
    (
        "animated WebP canvas of 16383x16383",
        lambda: extended(16_383, 16_383, ANIMATION, ANIM, frame()),
        (*TOO_LARGE, *BROKEN),
    ),
    ("WebP of one frame", lambda: extended(96, 72, ANIMATION, ANIM, frame()), TAKEN_OR_BROKEN),
    ("WebP of a frame beside its canvas", lambda: extended(96, 72, ANIMATION, ANIM, frame(1000, 1000)), BROKEN),
    ("WebP of 60,000 frames", lambda: extended(96, 72, ANIMATION, ANIM, *[frame()] * 5000), TAKEN_OR_BROKEN),
    ("lossless WebP of 16384x16384", lambda: lossless(16_384, 16_384), TOO_LARGE),
    ("WebP of 16383x16383", lambda: lossy(16_383, 16_383), TOO_LARGE),
    ("WebP without a size", lambda: lossy(0, 0), BROKEN),
    ("WebP of 15x15", lambda: lossy(15, 15), BROKEN),
    ("WebP longer than its file", lambda: riff(picture(), length=2**31), TAKEN_OR_BROKEN),
    ("WebP shorter than its file", lambda: riff(picture(), length=20), BROKEN),
    ("WebP without chunks", lambda: riff(), BROKEN),
    ("WebP of an unknown chunk", lambda: riff(riff_chunk(b"VP9 ", bytes(100))), (*BROKEN, 415)),
    ("WebP whose alpha lacks", lambda: extended(96, 72, ALPHA, riff_chunk(b"ALPH"), picture()), TAKEN_OR_BROKEN),
    (
        "WebP whose alpha is noise",
        lambda: extended(96, 72, ALPHA, riff_chunk(b"ALPH", b"\1" + b"\xa5" * 3000), picture()),
        TAKEN_OR_BROKEN,
    ),
    ("WebP in a WebP", lambda: extended(96, 72, 0, riff_chunk(b"RIFF", sound()["webp"]), picture()), TAKEN_OR_BROKEN),
]

BOMBS = [
    (
        "animated WebP canvas of 7000x7000",
        lambda: extended(7000, 7000, ANIMATION, ANIM, frame(), frame()),
        TAKEN_OR_BROKEN,
    ),
    ("WebP of one frame on 49 megapixels", lambda: extended(7000, 7000, ANIMATION, ANIM, frame()), TAKEN_OR_BROKEN),
    (
        "WebP of 2,000,000 chunks",
        lambda: extended(96, 72, 0, picture(), *[riff_chunk(b"junk")] * 2_000_000),
        TAKEN_OR_BROKEN,
    ),
    (
        "WebP of 2,000,000 profiles",
        lambda: extended(96, 72, ICC, *[riff_chunk(b"ICCP")] * 2_000_000, picture()),
        TAKEN_OR_BROKEN,
    ),
    ("lossless WebP of 7000x7000 without pixels", lambda: lossless(7000, 7000), TAKEN_OR_BROKEN),
    ("lossless WebP of 7000x7000", lambda: blank(7000, lossless=True), ACCEPTED),
    ("WebP of 7000x7000", lambda: blank(7000, quality=1), ACCEPTED),
    ("WebP of 7000x7000 without data", lambda: lossy(7000, 7000), TAKEN_OR_BROKEN),
    (
        "WebP with a profile of 18 MB",
        lambda: extended(96, 72, ICC, riff_chunk(b"ICCP", bytes(18_000_000)), picture()),
        ACCEPTED,
    ),
    (
        "WebP with XMP of 18 MB",
        lambda: extended(96, 72, XMP, picture(), riff_chunk(b"XMP ", b"<" * 18_000_000)),
        ACCEPTED,
    ),
    ("WebP with an EXIF bomb", lambda: extended(96, 72, EXIF, picture(), riff_chunk(b"EXIF", BIG_EXIF)), ACCEPTED),
]
"""Files that take long to make or to decode."""
