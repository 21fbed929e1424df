"""PNG."""

from __future__ import annotations

import re

from visualsearch.imaging.formats.format import Format
from visualsearch.imaging.formats.parts import one_more

MAX_COMPRESSED = 50
"""Compressed texts and profiles in a PNG. Pillow unpacks up to 1 MB of each, which takes some 2 ms."""
_COMPRESSED = {b"iCCP", b"zTXt", b"iTXt"}
_SIGNATURE_BYTES = 8
_CHUNK_BYTES = 12
"""Length, type and checksum."""


def check_chunks(data: bytes) -> int:
    """Return 1; raises ``BrokenImage`` over ``MAX_PARTS`` chunks of a PNG file, or ``MAX_COMPRESSED`` texts."""
    position, parts, compressed = _SIGNATURE_BYTES, 0, 0
    while position < len(data):
        parts = one_more(parts)
        if data[position + 4 : position + 8] in _COMPRESSED:
            compressed = one_more(compressed, MAX_COMPRESSED, "compressed texts and profiles")
        position += _CHUNK_BYTES + int.from_bytes(data[position : position + 4], "big")
    return 1


PNG = Format("PNG", "png", re.compile(rb"\x89PNG\r\n\x1a\n"), check_chunks)
