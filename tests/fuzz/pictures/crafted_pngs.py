"""Crafted PNGs: bombs of pixels, text and profiles, lying headers, damaged chunks."""

import struct
import zlib
from functools import lru_cache

from tests.fuzz.pictures.crafted_jpegs import exif_directory
from tests.fuzz.pictures.formats import PNG_SIGNATURE, Part, chunk, chunks, png_of
from tests.fuzz.pictures.seeds import sound
from tests.fuzz.pictures.statuses import ACCEPTED, BROKEN, TAKEN_OR_BROKEN, TOO_LARGE
from tests.pictures import encoded, noise

GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, RGBA: 4}


def header(width: int, height: int, depth: int = 8, colour: int = RGB, interlace: int = 0) -> bytes:
    """The first chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


@lru_cache(maxsize=4)
def zeros(size: int) -> bytes:
    """Compressed zeros, made without as much memory."""
    packer = zlib.compressobj(9)
    piece = bytes(1_000_000)
    packed = b"".join(packer.compress(piece) for _ in range(size // len(piece)))
    return packed + packer.compress(bytes(size % len(piece))) + packer.flush()


def blank(
    width: int, height: int, depth: int = 8, colour: int = RGB, more: bytes = b"", rows: int | None = None
) -> bytes:
    """A picture of zeros, with chunks before its data; ``rows`` are those that the data has."""
    row = 1 + (width * CHANNELS[colour] * depth + 7) // 8
    data = zeros(row * (height if rows is None else rows))
    return PNG_SIGNATURE + header(width, height, depth, colour) + more + chunk(b"IDAT", data) + chunk(b"IEND")


def small(*inserted: bytes, after: bool = False) -> bytes:
    """A sound PNG with chunks after its header, or after its data."""
    parts = chunks(sound()["png"])
    at = len(parts) - 1 if after else 1
    first, rest = png_of(parts[:at]), png_of(parts[at:])[len(PNG_SIGNATURE) :]
    return first + b"".join(inserted) + rest


def text_bomb(kind: bytes, size: int) -> bytes:
    """A chunk whose text has ``size`` bytes once it is unpacked."""
    between = {b"zTXt": b"\0\0", b"iCCP": b"\0\0", b"iTXt": b"\0\1\0\0\0"}[kind]
    return chunk(kind, b"name" + between + zeros(size))


def damaged_text(size: int) -> bytes:
    """A text whose compression is damaged at its end."""
    return chunk(b"zTXt", b"name\0\0" + zeros(size)[:-20] + b"\xff" * 20)


def raw_exif(data: bytes) -> bytes:
    """EXIF as ImageMagick writes it into text."""
    return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 1\n" + data.hex().encode()))


def split(pieces: int) -> bytes:
    """A PNG whose data is in pieces of a byte, and empty ones."""
    parts = chunks(sound()["png"])
    data = b"".join(part.data for part in parts if part.kind == b"IDAT")
    made = [Part(b"IDAT", data[at : at + 1]) for at in range(len(data))]
    return png_of([parts[0], *[Part(b"IDAT", b"")] * pieces, *made, parts[-1]])


def animation(frames: int) -> bytes:
    """A PNG that announces frames."""
    return small(chunk(b"acTL", struct.pack(">II", frames, 0)))


def wrong_checksum(kind: bytes) -> bytes:
    """A sound PNG but for the checksum of one chunk."""
    parts = chunks(sound()["png with metadata"])
    made = (chunk(part.kind, part.data, crc=1 if part.kind == kind else None) for part in parts)
    return PNG_SIGNATURE + b"".join(made)


def damaged_rows() -> bytes:
    """Data whose checksum is right and whose compression is not: the second half is replaced."""
    parts = chunks(encoded_large())
    changed = [Part(p.kind, p.data[: len(p.data) // 2] + b"\xff" * 500) if p.kind == b"IDAT" else p for p in parts]
    return png_of(changed)


def encoded_large() -> bytes:
    """A picture of several rows of blocks."""
    return encoded(noise(5, 640, 480), "PNG")


BIG_EXIF = exif_directory(range(65_535), 7, 15_000_000, 8)[6:].ljust(18_000_000, b"\0")

FILES = [
    ("PNG of 2^31-1 pixels square", lambda: blank(2**31 - 1, 2**31 - 1, rows=0), TOO_LARGE),
    ("PNG of 2^32-1 pixels square", lambda: blank(2**32 - 1, 2**32 - 1, rows=0), (*TOO_LARGE, *BROKEN)),
    ("PNG without a width", lambda: blank(0, 100), BROKEN),
    ("PNG of 50,000,000x1", lambda: blank(50_000_000, 1, 1, GREY), BROKEN),
    ("PNG of 49 megapixels and no row", lambda: blank(7000, 7000, rows=0), BROKEN),
    ("PNG of a palette that lacks", lambda: blank(500, 500, 8, PALETTE), TAKEN_OR_BROKEN),
    (
        "PNG whose palette is too long",
        lambda: blank(500, 500, 8, PALETTE, chunk(b"PLTE", bytes(9000))),
        TAKEN_OR_BROKEN,
    ),
    ("PNG of an unknown colour", lambda: PNG_SIGNATURE + header(50, 50, 8, 5) + chunk(b"IEND"), BROKEN),
    ("PNG of an unknown depth", lambda: PNG_SIGNATURE + header(50, 50, 32, RGB) + chunk(b"IEND"), BROKEN),
    ("PNG whose data unpacks to 1 GB", lambda: blank(100, 100, rows=3_400_000), TAKEN_OR_BROKEN),
    ("PNG whose data ends early in good order", lambda: blank(500, 500, rows=250), TAKEN_OR_BROKEN),
    ("PNG whose data is damaged", damaged_rows, BROKEN),
    ("PNG without a header", lambda: png_of(chunks(sound()["png"])[1:]), BROKEN),
    ("PNG of two headers", lambda: small(header(7000, 7000)), TAKEN_OR_BROKEN),
    ("PNG without data", lambda: PNG_SIGNATURE + header(50, 50) + chunk(b"IEND"), BROKEN),
    ("PNG whose chunk is longer than the file", lambda: small(chunk(b"tEXt", b"a\0b", length=2**31 - 1)), BROKEN),
    ("PNG with a text bomb", lambda: small(text_bomb(b"zTXt", 200_000_000)), ACCEPTED),
    ("PNG with an international text bomb", lambda: small(text_bomb(b"iTXt", 200_000_000)), ACCEPTED),
    ("PNG with a profile bomb", lambda: small(text_bomb(b"iCCP", 200_000_000)), ACCEPTED),
    (
        "PNG with a text bomb after its data",
        lambda: small(text_bomb(b"zTXt", 200_000_000), after=True),
        TAKEN_OR_BROKEN,
    ),
    ("PNG with 4,000 profiles of 1 MB", lambda: small(*[text_bomb(b"iCCP", 1_000_000)] * 4000), ACCEPTED),
    ("PNG that announces an animation", lambda: animation(2**31 - 1), ACCEPTED),
    ("PNG that announces one frame", lambda: animation(1), TAKEN_OR_BROKEN),
    *(
        (f"PNG whose {kind.decode()} has a wrong checksum", lambda kind=kind: wrong_checksum(kind), status)
        for kind, status in ((b"IHDR", BROKEN), (b"IDAT", BROKEN), (b"tEXt", ACCEPTED), (b"iCCP", ACCEPTED))
    ),
]

BOMBS = [
    ("PNG of 3,125,000x16", lambda: blank(3_125_000, 16), ACCEPTED),
    ("PNG of 49 megapixels of zeros", lambda: blank(7000, 7000), ACCEPTED),
    ("PNG of 49 megapixels of 64 bits", lambda: blank(7000, 7000, 16, RGBA), ACCEPTED),
    ("PNG of 49 megapixels of one bit", lambda: blank(7000, 7000, 1, GREY), ACCEPTED),
    ("PNG whose data is in 40,000 empty pieces", lambda: split(20_000), TAKEN_OR_BROKEN),
    ("PNG with 40 texts of 1 MB", lambda: small(*[text_bomb(b"zTXt", 1_000_000)] * 40), ACCEPTED),
    ("PNG with 4,000 texts of 1 MB", lambda: small(*[text_bomb(b"zTXt", 1_000_000)] * 4000), ACCEPTED),
    ("PNG with 4,000 damaged texts of 1 MB", lambda: small(*[damaged_text(1_000_000)] * 4000), ACCEPTED),
    ("PNG with 49,000 texts", lambda: small(*[chunk(b"tEXt", b"a\0" + b"b" * 300)] * 49_000), TAKEN_OR_BROKEN),
    ("PNG with an EXIF bomb", lambda: small(chunk(b"eXIf", BIG_EXIF)), ACCEPTED),
    ("PNG with an EXIF bomb after its data", lambda: small(chunk(b"eXIf", BIG_EXIF), after=True), ACCEPTED),
    ("PNG with EXIF in its text", lambda: small(raw_exif(BIG_EXIF[:400_000])), TAKEN_OR_BROKEN),
]
"""Files that take long to make or to decode."""
