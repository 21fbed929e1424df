"""WebP."""

from __future__ import annotations

import re

from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.parts import one_more

_FIRST_CHUNK = 12
_HEADER_BYTES = 8
_EXTENDED = b"VP8X"


def inspect(data: bytes) -> Inspection:
    """Read the size of the canvas, which the library allocates; raises ``BrokenImage`` over ``MAX_PARTS`` chunks."""
    position, parts = _FIRST_CHUNK, 0
    while position + _HEADER_BYTES <= len(data):
        parts = one_more(parts, what="chunks")
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += _HEADER_BYTES + length + length % 2
    size = None
    if data[12:16] == _EXTENDED and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        size = (width, height)
    return Inspection(data, size)


WEBP = Format(
    name="WebP",
    plugin="WEBP",
    media_type="image/webp",
    extension="webp",
    signature=re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    passes=7,
    bytes_per_pixel=25,
    read="Lossy and lossless; the first frame of an animation.",
    limits="50,000 chunks, frames included.",
    inspect=inspect,
)
