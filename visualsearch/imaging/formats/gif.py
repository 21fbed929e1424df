"""GIF."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from PIL import Image

from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.parts import one_more

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_HEADER_BYTES = 13
_SIZE_OFFSET = 6
_FLAGS_OFFSET = 10
_HAS_PALETTE = 0x80
_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_COMMENT, _APPLICATION = 0xFE, 0xFF
_LOOPS = b"NETSCAPE2.0"


def inspect(data: bytes) -> Inspection:
    """Read the size of the canvas and of the first frame, for which Pillow allocates memory when it opens a file.

    Raises ``BrokenImage`` over ``MAX_PARTS`` blocks before the frame: Pillow takes long to read each.
    """
    parts = position = 0
    for begin in _positions(data):
        parts, position = one_more(parts, what="blocks"), begin
    if len(data) < position + 10 or data[position] != _FRAME:
        return Inspection(data)
    width, height = struct.unpack_from("<HH", data, _SIZE_OFFSET)
    left, top, wide, high = struct.unpack_from("<HHHH", data, position + 1)
    return Inspection(data, (max(width, left + wide), max(height, top + high)))


def _positions(data: bytes) -> Iterator[int]:
    """Yield the positions of all blocks up to the first frame, as Pillow reads them, damaged ones too."""
    flags = data[_FLAGS_OFFSET] if len(data) > _FLAGS_OFFSET else 0
    position = _HEADER_BYTES + ((6 << (flags & 7)) if flags & _HAS_PALETTE else 0)
    while position < len(data):
        yield position
        kind, position = data[position], position + 1
        if kind in {_FRAME, _END}:
            return
        if kind == _EXTENSION and position < len(data):
            position = yield from _blocks(data, position + 1, data[position])


def _blocks(data: bytes, position: int, label: int) -> Generator[int, None, int]:
    """Yield the positions behind the blocks of an extension; return the last.

    Pillow reads one block, one more if it says how often an animation is repeated, and then all up to an empty one.
    """
    sure = 0 if label == _COMMENT else 1
    if label == _APPLICATION and data.startswith(_LOOPS, position + 1):
        sure += 1
    while position < len(data):
        length = data[position]
        position += 1 + length
        yield position
        if not length and sure <= 0:
            break
        sure -= 1
    return position


def first_frame(image: Image.Image, _found: Inspection) -> Image.Image:
    """Show what a first frame that is smaller than its canvas leaves free as transparent, as browsers do."""
    extents = image.tile[0].extents if image.tile else None  # type: ignore[attr-defined]
    if extents is None or extents == (0, 0, *image.size):
        return image
    canvas = Image.new("RGBA", image.size)
    canvas.paste(image.convert("RGBA").crop(extents), extents[:2])
    canvas.format = image.format
    return canvas


GIF = Format(
    name="GIF",
    plugin="GIF",
    media_type="image/gif",
    extension="gif",
    signature=re.compile(rb"GIF8[79]a"),
    passes=6,
    bytes_per_pixel=12,
    read="The first frame.",
    limits="50,000 blocks before it.",
    inspect=inspect,
    finish=first_frame,
)
