"""PNG and APNG."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage
from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.parts import one_more
from visualsearch.imaging.formats.png_info import correct_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

MAX_PROFILE_BYTES = 1_000_000
"""Unpacked size up to which a colour profile is read. Those of printers have 500 KB."""
INTERLACED = 2
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_BYTES = 12
"""Length, type and checksum."""
_ANCILLARY = 0x20
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_END = b"\0\0\0\0IEND\xaeB`\x82"
_HEADER_END = 29


@dataclass
class _Chunks:
    """The chunks that decoding needs, and what was seen of the others."""

    kept: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Type, begin and end in the file."""
    dropped: bool = False
    ended: bool = False
    profiled: bool = False
    """Whether there was a profile. The first one counts, and unpacking each takes time."""

    def has(self, kind: bytes) -> bool:
        return any(one == kind for one, _, _ in self.kept)

    @property
    def hides_its_default(self) -> bool:
        """Whether it is an animation of which the ordinary pixels are no frame."""
        kinds = [kind for kind, _, _ in self.kept]
        return {b"acTL", b"fcTL", b"IDAT"} <= set(kinds) and kinds.index(b"fcTL") > kinds.index(b"IDAT")


def inspect(data: bytes) -> Inspection:
    """Check the checksums, and leave out what is damaged or not needed: texts, large profiles, all frames but one.

    Raises ``BrokenImage`` over ``MAX_PARTS`` chunks, or if a chunk that the picture needs is damaged or cut.
    """
    chunks = _chunks(data)
    size, scans = _header(data)
    if not chunks.hides_its_default and chunks.has(b"acTL"):
        chunks.kept = [one for one in chunks.kept if one[0] not in _ANIMATION]
        chunks.dropped = True
    if chunks.dropped or not chunks.ended:
        data = _SIGNATURE + b"".join(data[begin:end] for _, begin, end in chunks.kept) + _END
    return Inspection(data, size, scans)


def _header(data: bytes) -> tuple[tuple[int, int] | None, int]:
    """Return width and height, None if the header is missing, and how often a decoder goes over the picture."""
    if data[12:16] != b"IHDR" or len(data) < _HEADER_END:
        return None, 1
    width, height, interlaced = struct.unpack(">II4xB", data[16:_HEADER_END])
    return (width, height), INTERLACED if interlaced else 1


def _chunks(data: bytes) -> _Chunks:
    found, parts = _Chunks(), 0
    for kind, begin, end in _walk(data):
        parts = one_more(parts)
        if kind == b"IEND":
            found.ended = True
            break
        if kind == b"iCCP" and found.profiled:
            found.dropped = True
        elif _is_needed(data, kind, begin, end):
            found.kept.append((kind, begin, end))
        else:
            found.dropped = True
        found.profiled |= kind == b"iCCP"
    return found


def _walk(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, begin and end of each chunk. The end of the last can be behind that of the file."""
    position = len(_SIGNATURE)
    while position + 8 <= len(data):
        end = position + _CHUNK_BYTES + int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 8], position, end
        position = end


def _is_needed(data: bytes, kind: bytes, begin: int, end: int) -> bool:
    """Return whether a chunk is sound and of use; raises ``BrokenImage`` if a damaged one is indispensable."""
    if kind in _TEXTS:
        return False
    view = memoryview(data)
    if end > len(data) or zlib.crc32(view[begin + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        if kind and kind[0] & _ANCILLARY:
            return False
        what = "cut off" if end > len(data) else "damaged: a checksum is wrong"
        raise BrokenImage(f"The PNG is {what}, and rows of pixels are missing. Send it whole, or save it anew.")
    return kind != b"iCCP" or _is_small_profile(data[begin + 8 : end - 4])


def _is_small_profile(content: bytes) -> bool:
    """Return whether a profile unpacks to ``MAX_PROFILE_BYTES`` at most."""
    packed = content.partition(b"\0")[2][1:]
    unpacker = zlib.decompressobj()
    try:
        return len(unpacker.decompress(packed, MAX_PROFILE_BYTES + 1)) <= MAX_PROFILE_BYTES
    except zlib.error:
        return False


def first_frame(image: Image.Image, found: Inspection) -> Image.Image:
    """Choose the first frame of an animation that has other ordinary pixels, for programs that show no animation."""
    if image.info.get("default_image"):
        image.seek(1)
    correct_info(image.info, found.data)
    return image


PNG = Format(
    name="PNG",
    plugin="PNG",
    media_type="image/png",
    extension="png",
    signature=re.compile(re.escape(_SIGNATURE)),
    passes=6,
    bytes_per_pixel=17,
    read="Every colour type and depth, interlaced or not; the first frame of an animation. Texts are not read.",
    limits="50,000 chunks. A damaged chunk is skipped if the picture can be shown without it, as is a colour profile "
    "that unpacks to over 1 MB. A file that is cut off within its pixels is refused.",
    inspect=inspect,
    finish=first_frame,
)
