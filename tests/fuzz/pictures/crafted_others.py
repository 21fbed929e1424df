"""Crafted GIFs, BMPs, TIFFs, AVIFs and HEICs: bombs of pixels, blocks, tags and boxes, headers that lie."""

import struct

from PIL import Image

from tests.fuzz.pictures.seeds import sound
from tests.fuzz.pictures.statuses import ACCEPTED, BROKEN, TAKEN_OR_BROKEN, TOO_LARGE, UNSUPPORTED
from tests.pictures import encoded

FULL = 19_000_000
TOO_LARGE_OR_BROKEN = (*TOO_LARGE, *BROKEN)


def gif(width: int, height: int, before: bytes = b"", data: bytes | None = None) -> bytes:
    """A GIF of a canvas, with blocks before its only frame, which has 96x72 pixels."""
    whole = bytearray(sound()["gif"])
    whole[6:10] = struct.pack("<HH", width, height)
    begin = 13 + (6 << (whole[10] & 7))
    rest = bytes(whole[begin:])
    if data is not None:
        rest = rest[: rest.index(b",") + 10] + data
    return bytes(whole[:begin]) + before + rest


def gif_frame(x: int, y: int, width: int, height: int) -> bytes:
    """A GIF whose frame lies elsewhere than on its canvas of 96x72."""
    data = bytearray(sound()["gif"])
    at = data.index(b",", 13 + (6 << (data[10] & 7)))
    data[at + 1 : at + 9] = struct.pack("<HHHH", x, y, width, height)
    return bytes(data)


def bmp(width: int, height: int, bits: int = 24, compression: int = 0, data: bytes = b"") -> bytes:
    """A BMP of any header."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    palette = bytes(4 << bits) if bits <= 8 else b""
    begin = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin) + header + palette + data


def tiff(width: int, height: int, *tags: tuple[int, int, int, int], more: bytes = b"") -> bytes:
    """A TIFF of 8-bit grey, with further tags (number, type, count, value)."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted([*entries, *tags]))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries) + len(tags)) + body + bytes(4) + more


def resized(name: str, width: int, height: int) -> bytes:
    """An AVIF or HEIC that says another size than it has."""
    return sound()[name].replace(
        b"ispe" + bytes(4) + struct.pack(">II", 96, 72), b"ispe" + bytes(4) + struct.pack(">II", width, height)
    )


def blank(kind: str, side: int, **options: object) -> bytes:
    """A picture of one colour."""
    return encoded(Image.new("RGB", (side, side), 128), kind, **options)


COMMENTS = b"!\xfe" + b"\1a" * 9_000_000 + b"\0"
HEIF = ("avif", "heic picture")

FILES = [
    ("GIF of 65535x65535", lambda: gif(65_535, 65_535), TOO_LARGE),
    ("GIF without a size", lambda: gif(0, 0), TAKEN_OR_BROKEN),
    ("GIF whose frame is beside its canvas", lambda: gif_frame(60_000, 60_000, 96, 72), TOO_LARGE),
    ("GIF whose frame has 4 gigapixels", lambda: gif_frame(0, 0, 65_535, 65_535), TOO_LARGE),
    ("GIF whose frame is empty", lambda: gif_frame(0, 0, 0, 0), TAKEN_OR_BROKEN),
    ("GIF of 9,000,000 blocks", lambda: gif(96, 72, COMMENTS), BROKEN),
    ("GIF of a code size of 255", lambda: gif(96, 72, data=b"\xff\x05aaaaa\0;"), BROKEN),
    ("GIF without pixels", lambda: gif(96, 72, data=b"\x08\0;"), BROKEN),
    (
        "GIF of one code again and again",
        lambda: gif(96, 72, data=b"\x08" + (b"\xff" + bytes(255)) * 70_000),
        TAKEN_OR_BROKEN,
    ),
    ("BMP of 2^31-1 pixels square", lambda: bmp(2**31 - 1, 2**31 - 1), TOO_LARGE),
    ("BMP of a negative height", lambda: bmp(32, -32, data=bytes(96 * 32)), TAKEN_OR_BROKEN),
    ("BMP of a negative width", lambda: bmp(-32, 32, data=bytes(96 * 32)), TOO_LARGE_OR_BROKEN),
    ("BMP without pixels", lambda: bmp(100, 100), BROKEN),
    ("BMP of a JPEG", lambda: bmp(100, 100, 24, 4, sound()["jpeg"]), UNSUPPORTED),
    ("BMP of runs without an end", lambda: bmp(100, 100, 8, 1, b"\0\2\0\0" * 1000), TAKEN_OR_BROKEN),
    ("BMP of seven bits", lambda: bmp(100, 100, 7, 0, bytes(10_000)), UNSUPPORTED),
    ("TIFF of 2^32-1 pixels square", lambda: tiff(2**32 - 1, 2**32 - 1), TOO_LARGE),
    ("TIFF of 65535x16 without rows", lambda: tiff(65_535, 16), BROKEN),
    (
        "TIFF of 65,535 tags",
        lambda: b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x100, 4, 1, 96) * 65_535,
        BROKEN,
    ),
    ("TIFF of tags that claim 2 GB", lambda: tiff(96, 72, *[(700, 1, 2**31 - 1, 8)] * 1000), BROKEN),
    ("TIFF whose list of tags is behind its end", lambda: b"II*\0\xff\xff\xff\x7f" + bytes(100), BROKEN),
    ("TIFF whose pages go in a circle", lambda: tiff(96, 72)[:-4] + b"\x08\0\0\0" + bytes(7000), TAKEN_OR_BROKEN),
    (
        "TIFF of an unknown compression",
        lambda: tiff(96, 72).replace(struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 999)),
        UNSUPPORTED,
    ),
    ("TIFF that is a DNG", lambda: tiff(96, 72, (50_706, 4, 1, 1)), UNSUPPORTED),
    ("TIFF in a TIFF's strips", lambda: tiff(96, 72, more=sound()["raw tiff"]), TAKEN_OR_BROKEN),
    *((f"{name} of 65535x65535", lambda name=name: resized(name, 65_535, 65_535), TOO_LARGE) for name in HEIF),
    *((f"{name} of 97x73", lambda name=name: resized(name, 97, 73), TAKEN_OR_BROKEN) for name in HEIF),
    *((f"{name} of 15x15", lambda name=name: resized(name, 15, 15), BROKEN) for name in HEIF),
    ("a heic header", lambda: b"\0\0\0\x18ftypheic" + bytes(500), BROKEN),
    ("an avif header", lambda: b"\0\0\0\x18ftypavif" + bytes(500), BROKEN),
]

BOMBS = [
    *((f"{name} of 8000x8000", lambda name=name: resized(name, 8000, 8000), TAKEN_OR_BROKEN) for name in HEIF),
    ("GIF of 9999x9999", lambda: blank("GIF", 9999), ACCEPTED),
    ("GIF of 9999x9999 without data", lambda: gif(9999, 9999), TAKEN_OR_BROKEN),
    ("BMP of 19 MB of runs", lambda: bmp(9000, 9000, 8, 1, b"\1\1" * (FULL // 2)), TAKEN_OR_BROKEN),
    ("BMP of runs of nothing", lambda: bmp(9000, 9000, 8, 1, b"\0\2\0\0" * (FULL // 4)), TAKEN_OR_BROKEN),
    ("TIFF of 8600x8600", lambda: blank("TIFF", 8600, compression="tiff_adobe_deflate"), ACCEPTED),
    ("TIFF of 8600x8600 in LZW", lambda: blank("TIFF", 8600, compression="tiff_lzw"), ACCEPTED),
    ("AVIF of 7900x7900", lambda: blank("AVIF", 7900, speed=10), ACCEPTED),
    *(
        (f"{name} of 2,000,000 boxes", lambda name=name: sound()[name] + b"\0\0\0\x08free" * 2_000_000, BROKEN)
        for name in HEIF
    ),
    *(
        (
            f"{name} of boxes in boxes",
            lambda name=name: sound()[name] + b"\0\0\0\0meta\0\0\0\0" * 15_000,
            TAKEN_OR_BROKEN,
        )
        for name in HEIF
    ),
]
"""Files that take long to make or to decode."""
