"""The boxes of ISO base media files, in which AVIF and HEIC keep their pictures."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from visualsearch.imaging.formats.parts import one_more

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BOXES = 20_000
"""A HEIC picture of 200 megapixels in tiles of 512 pixels has 800 items with some boxes each."""
_CONTAINERS = {b"meta": 12, b"iprp": 8, b"ipco": 8}
"""Boxes that hold what says the size, and the bytes before their first inner box."""
_SIZE = b"ispe"


def largest_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of the largest picture of a file; None if nothing says it.

    Raises ``BrokenImage`` over ``MAX_BOXES`` boxes.
    """
    sizes = [
        struct.unpack(">II", data[begin + 12 : begin + 20])
        for kind, begin, end in _boxes(data)
        if kind == _SIZE and end - begin >= 20
    ]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, begin and end of the boxes, and of those in containers of interest."""
    parts, waiting = 0, [(0, len(data))]
    while waiting:
        position, limit = waiting.pop()
        while position + 8 <= limit:
            parts = one_more(parts, MAX_BOXES, "boxes")
            length = int.from_bytes(data[position : position + 4], "big")
            if length == 1:
                length = int.from_bytes(data[position + 8 : position + 16], "big")
            end = min(position + length, limit) if length else limit
            kind = data[position + 4 : position + 8]
            yield kind, position, end
            if kind in _CONTAINERS:
                waiting.append((position + _CONTAINERS[kind], end))
            position = max(end, position + 8)
