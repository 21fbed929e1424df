"""Takes picture files apart into their segments or chunks, and builds files of such parts, sound or not."""

import struct
import zlib
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
HEIC_BRANDS = {first + last for first in (b"hei", b"hev") for last in (b"c", b"x", b"m", b"s")}
BMP_HEADERS = {bytes([length]) for length in (12, 40, 52, 56, 64, 108, 124)}
SOI, EOI, SOS = b"\xff\xd8", b"\xff\xd9", 0xDA


@dataclass(frozen=True)
class Part:
    """A segment of a JPEG, or a chunk of a PNG or WebP. ``tail`` is a scan's data, or None."""

    kind: bytes
    data: bytes
    tail: bytes = b""


def kind_of(data: bytes) -> str:
    """The format that a file's first bytes tell."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(PNG_SIGNATURE):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in {b"GIF87a", b"GIF89a"}:
        return "GIF"
    if data[:4] in TIFF_SIGNATURES and not (data[:4] == b"II*\0" and data[8:10] == b"CR"):
        return "TIFF"
    if data[:2] == b"BM" and data[15:18] == bytes(3) and data[14:15] in BMP_HEADERS:
        return "BMP"
    return _kind_of_boxes(data)


def _kind_of_boxes(data: bytes) -> str:
    """The format of a file that begins with its brands."""
    if data[4:8] != b"ftyp":
        return "other"
    brands = [data[8:12]]
    if brands[0] in {b"mif1", b"msf1"}:
        brands += [data[at : at + 4] for at in range(16, min(len(data), 80), 4)]
    if {b"avif", b"avis"} & set(brands):
        return "AVIF"
    return "HEIC" if HEIC_BRANDS & set(brands) else "other"


def segment(marker: int, data: bytes = b"", length: int | None = None) -> bytes:
    """A segment of a JPEG, whose ``length`` may lie."""
    told = len(data) + 2 if length is None else length
    return bytes([0xFF, marker]) + struct.pack(">H", told & 0xFFFF) + data


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None, length: int | None = None) -> bytes:
    """A chunk of a PNG, whose checksum and ``length`` may lie."""
    told = len(data) if length is None else length
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", told & 0xFFFFFFFF) + kind + data + struct.pack(">I", checksum & 0xFFFFFFFF)


def riff_chunk(kind: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A chunk of a WebP, whose ``length`` may lie."""
    told = len(data) if length is None else length
    return kind + struct.pack("<I", told & 0xFFFFFFFF) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes, length: int | None = None) -> bytes:
    """A WebP file of chunks, whose ``length`` may lie."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", (len(body) if length is None else length) & 0xFFFFFFFF) + body


def segments(data: bytes) -> list[Part]:
    """The segments of a sound JPEG between its begin and its end."""
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != EOI[1]:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        tail = end
        if data[at + 1] == SOS:
            while tail + 1 < len(data) and (data[tail] != 0xFF or data[tail + 1] in {0, *range(0xD0, 0xD8)}):
                tail += 1
        parts.append(Part(data[at + 1 : at + 2], data[at + 4 : end], data[end:tail]))
        at = tail
    return parts


def jpeg_of(parts: list[Part]) -> bytes:
    """A JPEG of segments."""
    return SOI + b"".join(segment(part.kind[0], part.data) + part.tail for part in parts) + EOI


def chunks(data: bytes) -> list[Part]:
    """The chunks of a sound PNG."""
    parts, at = [], len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        parts.append(Part(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return parts


def png_of(parts: list[Part]) -> bytes:
    """A PNG of chunks, with their checksums."""
    return PNG_SIGNATURE + b"".join(chunk(part.kind, part.data) for part in parts)


def riff_chunks(data: bytes) -> list[Part]:
    """The chunks of a sound WebP."""
    parts, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append(Part(data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return parts


def webp_of(parts: list[Part]) -> bytes:
    """A WebP of chunks."""
    return riff(*(riff_chunk(part.kind, part.data) for part in parts))


READERS = {"JPEG": segments, "PNG": chunks, "WEBP": riff_chunks}
WRITERS = {"JPEG": jpeg_of, "PNG": png_of, "WEBP": webp_of}
