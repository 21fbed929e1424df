"""Crafted JPEGs: bombs of scans, segments, EXIF and profiles, lying headers, unusual codings."""

import struct
from random import Random

from tests.fuzz.pictures.formats import EOI, SOI, Part, jpeg_of, segment, segments
from tests.fuzz.pictures.seeds import profile, sound
from tests.fuzz.pictures.statuses import ACCEPTED, BROKEN, TAKEN_OR_BROKEN, TOO_LARGE, UNSUPPORTED
from tests.pictures import encoded, jpeg, noise

SIDE = 7000
"""Side of a square of 49 megapixels, just below the limit."""
ALL_DATA = 19_000_000
BIG_SEGMENT = 65_533


def parts_of(name: str = "jpeg") -> list[Part]:
    """The segments of a sound JPEG."""
    return segments(sound()[name])


def with_frame(parts: list[Part], marker: int | None = None, **values: int) -> list[Part]:
    """Replace the coding of a frame, or its ``precision``, ``height`` or ``width``."""
    changed = []
    for part in parts:
        if 0xC0 <= part.kind[0] <= 0xC2:
            precision, height, width = struct.unpack(">BHH", part.data[:5])
            now = {"precision": precision, "height": height, "width": width} | values
            data = struct.pack(">BHH", now["precision"], now["height"], now["width"]) + part.data[5:]
            changed.append(Part(bytes([marker or part.kind[0]]), data))
        else:
            changed.append(part)
    return changed


def sized(width: int, height: int, name: str = "jpeg") -> bytes:
    """A JPEG whose header announces another size than its data has."""
    return jpeg_of(with_frame(parts_of(name), width=width, height=height))


def before(data: bytes, *inserted: bytes) -> bytes:
    """A JPEG with segments before all others."""
    return data[:2] + b"".join(inserted) + data[2:]


def scan_bomb(name: str, scans: int, side: int = SIDE) -> bytes:
    """The last scan of a JPEG again and again."""
    parts = with_frame(parts_of(name), width=side, height=side)
    return jpeg_of(parts + [parts[-1]] * scans)


def noise_scan(marker: int, side: int, size: int) -> bytes:
    """A frame of a coding, with random bytes as its scan's data."""
    parts = with_frame(parts_of(), marker, width=side, height=side)
    data = Random(1).randbytes(size).replace(b"\xff", b"\xfe")
    return jpeg_of([*parts[:-1], Part(parts[-1].kind, parts[-1].data, data)])


def exif_directory(tags: range, kind: int, count: int, offset: int) -> bytes:
    """EXIF that says of each tag that it has ``count`` values of a kind at an offset."""
    body = b"".join(struct.pack("<HHII", tag, kind, count, offset) for tag in tags)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body + b"\0\0\0\0"


def exif_bomb(size: int) -> bytes:
    """Tags that all claim the same bytes, in segments of EXIF of ``size`` bytes in all."""
    first = exif_directory(range(1, 5000), 7, min(size, 60_000), 8)
    rest = [segment(0xE1, b"Exif\0\0" + bytes(65_000)) for _ in range(size // 65_000)]
    return before(jpeg(1), segment(0xE1, first.ljust(BIG_SEGMENT, b"\0")), *rest)


def exif_of_warnings() -> bytes:
    """Every tag lies beyond the file."""
    whole = exif_directory(range(65_535), 7, 2**31, 8)[6:]
    pieces = [whole[at : at + 65_000] for at in range(0, len(whole), 65_000)]
    return before(jpeg(1), *(segment(0xE1, b"Exif\0\0" + one) for one in pieces))


def profile_pieces(number: int, each: bytes, told: int | None = None) -> bytes:
    """A colour profile in pieces."""
    told = number if told is None else told
    made = (segment(0xE2, b"ICC_PROFILE\0" + bytes([at % 256, told]) + each) for at in range(1, number + 1))
    return before(jpeg(1), *made)


def profile_with_clut(points: int) -> bytes:
    """A profile that claims a table of ``points`` in each of three directions."""
    table = struct.pack(">4s4xBBBx", b"mft2", 3, 3, points) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += struct.pack(">HH", 4096, 4096) + bytes(600_000)
    tag = struct.pack(">4sII", b"A2B0", 144, len(table))
    whole = bytearray(profile()[:128] + struct.pack(">I", 1) + tag + table)
    whole[:4] = struct.pack(">I", len(whole))
    return bytes(whole)


def with_profile(data: bytes) -> bytes:
    """A JPEG with any bytes as its profile."""
    return encoded(noise(1, 320, 240), icc_profile=data, quality=80)


def mpf(entries: int) -> bytes:
    """A JPEG that claims to begin a file of many pictures."""
    directory = struct.pack("<HHII", 0xB000, 7, 4, 0x30303130) + struct.pack("<HHII", 0xB001, 4, 1, entries)
    directory += struct.pack("<HHII", 0xB002, 7, 16 * min(entries, 4000), 50)
    body = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 3) + directory + bytes(4) + bytes(16 * min(entries, 4000))
    return before(jpeg(1), segment(0xE2, body))


def thousand_tables() -> bytes:
    """Quantisation and Huffman tables that are replaced again and again."""
    tables = [part for part in parts_of() if part.kind in {b"\xdb", b"\xc4"}]
    return jpeg_of(tables * 5000 + parts_of())


FILES = [
    ("JPEG of 65535x65535", lambda: sized(65_535, 65_535), TOO_LARGE),
    ("JPEG of 65535x1", lambda: sized(65_535, 1), BROKEN),
    ("JPEG of 65535x16", lambda: sized(65_535, 16), TAKEN_OR_BROKEN),
    ("JPEG without a height", lambda: sized(96, 0), BROKEN),
    ("JPEG of 49 megapixels without data", lambda: sized(SIDE, SIDE), TAKEN_OR_BROKEN),
    ("progressive JPEG of 200 scans", lambda: scan_bomb("progressive jpeg", 200), BROKEN),
    ("progressive JPEG of 900 scans, small", lambda: scan_bomb("progressive jpeg", 900, 96), TAKEN_OR_BROKEN),
    ("sequential JPEG of 200 scans", lambda: scan_bomb("grey jpeg", 200), BROKEN),
    ("arithmetic JPEG of 49 megapixels of noise", lambda: noise_scan(0xC9, SIDE, ALL_DATA), TAKEN_OR_BROKEN),
    ("progressive arithmetic JPEG", lambda: noise_scan(0xCA, SIDE, 1000), TAKEN_OR_BROKEN),
    ("lossless JPEG", lambda: noise_scan(0xC3, SIDE, 1000), UNSUPPORTED),
    ("hierarchical JPEG", lambda: noise_scan(0xC5, 500, 1000), UNSUPPORTED),
    ("JPEG of 12 bits", lambda: jpeg_of(with_frame(parts_of(), precision=12)), UNSUPPORTED),
    ("JPEG of two frames", lambda: jpeg_of(with_frame(parts_of(), width=SIDE, height=SIDE)[:4] + parts_of()), BROKEN),
    ("JPEG in a JPEG", lambda: SOI + sound()["jpeg"], TAKEN_OR_BROKEN),
    ("JPEG that ends before its scan", lambda: jpeg_of(parts_of()[:-1]), BROKEN),
    ("JPEG of markers alone", lambda: SOI + EOI * 5000, BROKEN),
    ("JPEG of 19 MB of comments", lambda: before(jpeg(1), *[segment(0xFE, bytes(BIG_SEGMENT))] * 290), ACCEPTED),
    ("JPEG of 19 MB of EXIF", lambda: before(jpeg(1), *[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 290), BROKEN),
    (
        "JPEG of 49,000 pieces of EXIF",
        lambda: before(jpeg(1), *[segment(0xE1, b"Exif\0\0" + bytes(380))] * 49_000),
        BROKEN,
    ),
    (
        "JPEG of 19 MB of XMP",
        lambda: before(jpeg(1), *[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 65_000)] * 290),
        ACCEPTED,
    ),
    (
        "JPEG of Photoshop resources",
        lambda: before(jpeg(1), *[segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\0" * 5000)] * 290),
        TAKEN_OR_BROKEN,
    ),
    ("JPEG with an EXIF bomb of 60 KB", lambda: exif_bomb(60_000), ACCEPTED),
    ("JPEG with an EXIF bomb of 18 MB", lambda: exif_bomb(18_000_000), BROKEN),
    (
        "JPEG whose EXIF points to itself",
        lambda: before(jpeg(1), segment(0xE1, exif_directory(range(0x8769, 0x876B), 4, 1, 8))),
        ACCEPTED,
    ),
    ("JPEG with 255 pieces of profile", lambda: profile_pieces(255, bytes(65_000)), ACCEPTED),
    ("JPEG with pieces of no profile", lambda: profile_pieces(3, b"", 0), ACCEPTED),
    ("JPEG with a profile of noise", lambda: with_profile(Random(2).randbytes(900_000)), ACCEPTED),
    ("JPEG with a profile that claims a huge table", lambda: with_profile(profile_with_clut(255)), ACCEPTED),
    ("JPEG with a profile of a large table", lambda: with_profile(profile_with_clut(46)), ACCEPTED),
    ("JPEG that claims 2 pictures", lambda: mpf(2), TAKEN_OR_BROKEN),
    ("JPEG that claims 4 billion pictures", lambda: mpf(2**32 - 1), TAKEN_OR_BROKEN),
    (
        "JPEG with restarts after every block",
        lambda: jpeg_of([Part(b"\xdd", b"\0\1"), *with_frame(parts_of(), width=SIDE, height=SIDE)]),
        TAKEN_OR_BROKEN,
    ),
]

BOMBS = [
    ("progressive JPEG of 49 megapixels without data", lambda: sized(SIDE, SIDE, "progressive jpeg"), TAKEN_OR_BROKEN),
    ("progressive JPEG of 10,000 scans", lambda: scan_bomb("progressive jpeg", 10_000, 100), TAKEN_OR_BROKEN),
    ("progressive JPEG just cheap enough", lambda: scan_bomb("progressive jpeg", 20, 6900), TAKEN_OR_BROKEN),
    ("JPEG of 49 megapixels of noise", lambda: noise_scan(0xC0, SIDE, ALL_DATA), TAKEN_OR_BROKEN),
    ("arithmetic JPEG of 49 megapixels without data", lambda: noise_scan(0xC9, SIDE, 10), TAKEN_OR_BROKEN),
    ("JPEG of many tables", thousand_tables, TAKEN_OR_BROKEN),
    ("JPEG of 49,000 comments", lambda: before(jpeg(1), *[segment(0xFE, b"x")] * 49_000), TAKEN_OR_BROKEN),
    ("JPEG whose EXIF lies of 65,535 tags", exif_of_warnings, ACCEPTED),
    ("JPEG with 40,000 pieces of profile", lambda: profile_pieces(40_000, bytes(400), 255), ACCEPTED),
]
"""Files that take long to make or to decode."""
