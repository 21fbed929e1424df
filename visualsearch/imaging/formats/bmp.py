"""BMP, as Windows writes it."""

from __future__ import annotations

import re
import struct
from io import BytesIO

from PIL import Image

from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.refusals import unsupported

_HEADER_BYTES = 26
_COMPRESSION = slice(30, 34)
_PLAIN = {b"\0\0\0\0", b"\3\0\0\0"}
_OLD_HEADER = b"\x0c\0\0\0"


def inspect(data: bytes) -> Inspection:
    """Read size and compression: runs of pixels are decoded in Python, so apart."""
    if len(data) < _HEADER_BYTES:
        return Inspection(data)
    if data[14:18] == _OLD_HEADER:
        return Inspection(data, struct.unpack("<HH", data[18:22]))
    width, height = struct.unpack("<Ii", data[18:26])
    return Inspection(data, (width, abs(height)), apart=data[_COMPRESSION] not in _PLAIN)


def opened(found: Inspection) -> Image.Image:
    """Read the header; raises ``UnsupportedImage`` for a kind that Pillow does not decode."""
    try:
        return Image.open(BytesIO(found.data), formats=("BMP",))
    except OSError as error:
        if str(error).startswith("Unsupported BMP"):
            raise unsupported(f"a BMP of an unusual kind ({str(error).removeprefix('Unsupported BMP ')})") from None
        raise


BMP = Format(
    name="BMP",
    plugin="BMP",
    media_type="image/bmp",
    extension="bmp",
    signature=re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    passes=2,
    bytes_per_pixel=12,
    read="1 to 32 bits a pixel, also run-length encoded.",
    inspect=inspect,
    open=opened,
)
