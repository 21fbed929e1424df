"""Changes a picture file with knowledge of its format: segments, chunks, and what stands in them."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.fuzz.pictures.byte_changes import BYTES, INTERESTING, WIDE
from tests.fuzz.pictures.formats import PNG_SIGNATURE, READERS, WRITERS, Part, chunk, kind_of, riff_chunk, segment


def with_part(parts: list[Part], at: int, part: Part) -> list[Part]:
    """Parts with another one in place of that at a position."""
    return [*parts[:at], part, *parts[at + 1 :]]


def inserted(parts: list[Part], at: int, part: Part) -> list[Part]:
    """Parts with one more."""
    return [*parts[:at], part, *parts[at:]]


def _on_parts(change: Callable[[Random, list[Part]], list[Part]]) -> Callable[[Random, bytes], bytes]:
    def on_file(random: Random, data: bytes) -> bytes:
        kind = kind_of(data)
        return WRITERS[kind](change(random, READERS[kind](data)))

    on_file.__name__ = change.__name__
    return on_file


@_on_parts
def _drop_part(random: Random, parts: list[Part]) -> list[Part]:
    at = random.randrange(len(parts))
    return parts[:at] + parts[at + 1 :]


@_on_parts
def _repeat_part(random: Random, parts: list[Part]) -> list[Part]:
    at = random.randrange(len(parts))
    return parts[:at] + [parts[at]] * random.choice((2, 3, 10, 100)) + parts[at + 1 :]


@_on_parts
def _move_part(random: Random, parts: list[Part]) -> list[Part]:
    moved = list(parts)
    moved.insert(random.randrange(len(parts)), moved.pop(random.randrange(len(moved))))
    return moved


@_on_parts
def _change_part(random: Random, parts: list[Part]) -> list[Part]:
    at = random.randrange(len(parts))
    data = random.choice(BYTES)(random, parts[at].data or b"\0")
    return with_part(parts, at, replace(parts[at], data=data[:65533]))


@_on_parts
def _change_tail(random: Random, parts: list[Part]) -> list[Part]:
    at = random.choice([number for number, part in enumerate(parts) if part.tail])
    return with_part(parts, at, replace(parts[at], tail=random.choice(BYTES)(random, parts[at].tail)))


@_on_parts
def _rename_part(random: Random, parts: list[Part]) -> list[Part]:
    at, other = random.randrange(len(parts)), random.choice(parts)
    return with_part(parts, at, replace(parts[at], kind=other.kind))


def _lie_about_length(random: Random, data: bytes) -> bytes:
    kind = kind_of(data)
    parts = READERS[kind](data)
    at, length = random.randrange(len(parts)), random.choice(WIDE)
    part = parts[at]
    if kind == "JPEG":
        lie = segment(part.kind[0], part.data, length) + part.tail
    else:
        lie = (chunk if kind == "PNG" else riff_chunk)(part.kind, part.data, length=length)
    before = WRITERS[kind](parts[:at])
    before = before[:-2] if kind == "JPEG" else before
    after = WRITERS[kind](parts[at + 1 :])
    return before + lie + after[{"JPEG": 2, "PNG": 8, "WEBP": 12}[kind] :]


@_on_parts
def _change_frame(random: Random, parts: list[Part]) -> list[Part]:
    """Another coding, precision, size or sampling than the data has."""
    at = next(number for number, part in enumerate(parts) if part.kind[0] in {0xC0, 0xC1, 0xC2})
    frame, data = parts[at], bytearray(parts[at].data)
    what = random.randrange(4)
    if what == 0:
        return with_part(parts, at, replace(frame, kind=bytes([0xC0 + random.randrange(16)])))
    if what == 1:
        data[random.choice((0, 5))] = random.choice((0, 1, 2, 4, 8, 12, 16, 255))
    elif what == 2:
        place = random.choice((1, 3))
        data[place : place + 2] = struct.pack(">H", random.choice(INTERESTING))
    else:
        component = 6 + 3 * random.randrange(data[5])
        data[component + random.randrange(3)] = random.choice((0, 1, 0x11, 0x12, 0x21, 0x41, 0x44, 0xFF))
    return with_part(parts, at, replace(frame, data=bytes(data)))


@_on_parts
def _change_scan(random: Random, parts: list[Part]) -> list[Part]:
    at = random.choice([number for number, part in enumerate(parts) if part.kind == b"\xda"])
    data = bytearray(parts[at].data)
    data[random.randrange(len(data))] = random.choice((0, 1, 2, 3, 5, 0x11, 0x3F, 0x40, 0xFF))
    return with_part(parts, at, replace(parts[at], data=bytes(data)))


@_on_parts
def _insert_segment(random: Random, parts: list[Part]) -> list[Part]:
    at = random.randrange(len(parts))
    marker = random.choice((0xDD, 0xDC, 0xC4, 0xDB, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xCC, 0xD8, 0x01, 0xFF))
    intro = random.choice(
        (b"", b"Exif\0\0", b"ICC_PROFILE\0\1\2", b"MPF\0", b"Adobe", b"http://ns.adobe.com/xap/1.0/\0")
    )
    return inserted(parts, at, Part(bytes([marker]), intro + random.randbytes(random.choice((0, 2, 14, 300)))))


@_on_parts
def _insert_exif(random: Random, parts: list[Part]) -> list[Part]:
    return [Part(b"\xe1", b"Exif\0\0" + _directory(random)), *parts]


def _directory(random: Random) -> bytes:
    """An EXIF directory whose entries have any type, count and offset."""
    entries = random.choice((1, 3, 40, 400))
    body = struct.pack("<H", random.choice((entries, 65535)))
    for _ in range(entries):
        tag = random.choice((0x0112, 0x011A, 0x8769, 0x8825, 0xA005, random.randrange(65536)))
        body += struct.pack("<HHII", tag, random.randrange(14), random.choice(WIDE), random.choice(WIDE))
    return b"II*\0\x08\0\0\0" + body


@_on_parts
def _change_header(random: Random, parts: list[Part]) -> list[Part]:
    """Another size, depth, colour or interlacing than a PNG's data has."""
    data = bytearray(parts[0].data)
    if random.random() < 0.5:
        place = random.choice((0, 4))
        data[place : place + 4] = struct.pack(">I", random.choice(WIDE))
    else:
        data[random.randrange(8, 13)] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 32, 255))
    return [replace(parts[0], data=bytes(data)), *parts[1:]]


@_on_parts
def _change_rows(random: Random, parts: list[Part]) -> list[Part]:
    """Change a PNG's rows before they are compressed: filters, lengths, too few or too many rows."""
    rows = zlib.decompress(b"".join(part.data for part in parts if part.kind == b"IDAT"))
    packed = zlib.compress(random.choice(BYTES)(random, rows), random.choice((0, 1, 9)))
    cut = random.randrange(len(packed))
    rest = [part for part in parts if part.kind not in {b"IDAT", b"IEND"}]
    return [*rest, Part(b"IDAT", packed[:cut]), Part(b"IDAT", packed[cut:]), Part(b"IEND", b"")]


@_on_parts
def _insert_chunk(random: Random, parts: list[Part]) -> list[Part]:
    kind = random.choice((b"tRNS", b"PLTE", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"zTXt", b"iTXt", b"acTL", b"fcTL"))
    exif = (b"eXIf", _directory(random))
    text = (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n\n\n" + _directory(random).hex().encode()))
    noise = (kind, random.randbytes(random.choice((0, 1, 3, 8, 32, 700))))
    return inserted(parts, random.randint(1, len(parts)), Part(*random.choice((exif, text, noise))))


def _break_checksum(random: Random, data: bytes) -> bytes:
    parts = chunks_of_png(data)
    wrong = random.randrange(len(parts))
    made = (
        chunk(part.kind, part.data, crc=random.getrandbits(32) if at == wrong else None)
        for at, part in enumerate(parts)
    )
    return PNG_SIGNATURE + b"".join(made)


def chunks_of_png(data: bytes) -> list[Part]:
    """The chunks of a file that must be a PNG still."""
    if kind_of(data) != "PNG":
        raise ValueError
    return READERS["PNG"](data)


@_on_parts
def _change_canvas(random: Random, parts: list[Part]) -> list[Part]:
    """Announce another canvas, or what is not there, in a WebP's extended header."""
    flags = random.getrandbits(8)
    width, height = (random.choice(WIDE) % 2**24 for _ in range(2))
    header = struct.pack("<I", flags) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return [Part(b"VP8X", header), *(part for part in parts if part.kind != b"VP8X")]


@_on_parts
def _insert_riff_chunk(random: Random, parts: list[Part]) -> list[Part]:
    kind = random.choice((b"ICCP", b"EXIF", b"XMP ", b"ALPH", b"ANIM", b"ANMF", b"VP8 ", b"VP8L", b"junk"))
    data = random.choice((_directory(random), random.randbytes(random.choice((0, 1, 6, 16, 300))), parts[0].data))
    at = random.randint(0, len(parts))
    return inserted(parts, at, Part(kind, data))


@_on_parts
def _put_in_frame(random: Random, parts: list[Part]) -> list[Part]:
    """Make a WebP an animation of frames that lie anywhere on the canvas."""
    place = b"".join(random.choice(WIDE).to_bytes(4, "little")[:3] for _ in range(2))
    size = struct.pack("<I", 95)[:3] + struct.pack("<I", 71)[:3]
    inner = b"".join(riff_chunk(part.kind, part.data) for part in parts if part.kind in {b"VP8 ", b"VP8L", b"ALPH"})
    frame = Part(b"ANMF", place + size + b"\0\0\0\0" + inner)
    header = Part(b"VP8X", struct.pack("<I", 2) + size)
    return [header, Part(b"ANIM", bytes(6)), *([frame] * random.choice((1, 1, 2, 20)))]


COMMON = (_drop_part, _repeat_part, _move_part, _change_part, _rename_part, _lie_about_length)
STRUCTURES = {
    "JPEG": (*COMMON, _change_tail, _change_frame, _change_scan, _insert_segment, _insert_exif),
    "PNG": (*COMMON, _change_header, _change_rows, _insert_chunk, _break_checksum),
    "WEBP": (*COMMON, _change_canvas, _insert_riff_chunk, _put_in_frame),
}
