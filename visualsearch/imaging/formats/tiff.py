"""TIFF, as scanners and archives write it."""

from __future__ import annotations

import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import TiffImagePlugin

from visualsearch.domain.errors import BrokenImage, UnsupportedImage
from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.refusals import unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

MAX_TAGS = 2000
"""Tags of a page; scanners write some 30."""
_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT = 3
_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _SUB_DIRECTORIES, _DNG = 254, 256, 257, 259, 330, 50706
_REDUCED = 1
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"}
_Tags = dict[int, tuple[int, int]]
"""Number of values and first value of each tag."""


def inspect(data: bytes) -> Inspection:
    """Read the size of the first page.

    Raises ``BrokenImage`` over ``MAX_TAGS`` tags, or if they claim more bytes than the file has; ``UnsupportedImage``
    for the raw files of cameras, which begin as a TIFF does,
    and for an unknown compression.
    """
    tags = _first_directory(data)
    if _DNG in tags or (_SUB_DIRECTORIES in tags and tags.get(_SUBFILE, (0, 0))[1] == _REDUCED):
        raise unsupported("a raw file of a camera (DNG, NEF, ARW or the like)")
    if _COMPRESSION in tags and tags[_COMPRESSION][1] not in TiffImagePlugin.COMPRESSION_INFO:
        raise _unusual(f"compression {tags[_COMPRESSION][1]}")
    size = None
    if _WIDTH in tags and _HEIGHT in tags:
        size = (tags[_WIDTH][1], tags[_HEIGHT][1])
    return Inspection(data, size, apart=True)


def _first_directory(data: bytes) -> _Tags:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    tags: _Tags = {}
    claimed = 0
    for tag, kind, count, value in _entries(data, order, big=big):
        claimed += _UNIT_BYTES.get(kind, 1) * count
        if claimed > len(data):
            raise BrokenImage("The tags of the TIFF claim more bytes than the file has; save it anew.")
        tags.setdefault(tag, (count, value))
    return tags


def _entries(data: bytes, order: str, *, big: bool) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type, number of values and first value of the entries of the first directory.

    ``big`` is whether the file has offsets of 8 bytes. Raises ``BrokenImage`` over ``MAX_TAGS`` or behind the file.
    """
    offset, count, form = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    try:
        (position,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        (number,) = struct.unpack_from(order + count, data, position)
        if number > MAX_TAGS:
            raise BrokenImage(f"The TIFF has {number:,} tags, which no program writes; save it anew.")
        position += struct.calcsize("=" + count)
        for _ in range(number):
            tag, kind, values, raw = struct.unpack_from(order + form, data, position)
            position += struct.calcsize("=" + form)
            yield tag, kind, values, struct.unpack_from(order + ("H" if kind == _SHORT else "I"), raw)[0]
    except (struct.error, OverflowError):
        raise BrokenImage("The TIFF is cut off or damaged: it has no list of tags. Send it whole.") from None


def opened(found: Inspection) -> Image.Image:
    """Read the header; raises ``UnsupportedImage`` for pixels that Pillow does not decode or that no screen shows."""
    try:
        image = TiffImagePlugin.TiffImageFile(BytesIO(found.data))
    except SyntaxError as error:
        if "unknown" in str(error):
            raise _unusual(str(error)) from None
        raise
    if image.mode not in _MODES:
        raise _unusual(f"pixels of mode {image.mode}")
    return image


def _unusual(why: str) -> UnsupportedImage:
    return unsupported(f"a TIFF of an unusual kind ({why})")


def upright(image: Image.Image, _found: Inspection) -> Image.Image:
    """Decode: Pillow turns a TIFF when it does, and until then tells an orientation that must not be applied twice."""
    image.load()
    return image


TIFF = Format(
    name="TIFF",
    plugin="TIFF",
    media_type="image/tiff",
    extension="tif",
    signature=re.compile(rb"II[*+]\0(?!.{4}CR)|MM\0[*+]", re.DOTALL),
    passes=8,
    bytes_per_pixel=17,
    read="The first page, of every common compression; 1 to 16 bits a sample, grey, RGB, CMYK or a palette.",
    limits="2,000 tags. Always decoded in a process of its own.",
    browsers=False,
    inspect=inspect,
    open=opened,
    finish=upright,
)
