"""What Pillow leaves out of a PNG's header, or tells otherwise than a browser reads it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE_BYTES = 8
_DEPTH_AT, _COLOUR_TYPE_AT = 24, 25
_GREY_ALPHA = 4


def correct_info(info: dict[Any, Any], data: bytes) -> None:
    """Correct what Pillow read of a PNG file before its pixels.

    ``cicp`` becomes the content of the chunk of this name, if there is one. ``exif`` becomes the first chunk's content
    as it is in the file, or None. ``transparency`` is in units of the pixels that Pillow makes. ``grey`` says whether
    the picture is grey and has alpha, which Pillow opens as RGBA if it has 16 bits.
    """
    first: dict[bytes, bytes] = {}
    for name, content in _chunks_before_pixels(data):
        first.setdefault(name, content)
    info.update(cicp=first.get(b"cICP"), exif=first.get(b"eXIf"), grey=data[_COLOUR_TYPE_AT] == _GREY_ALPHA)
    clear, depth = info.get("transparency"), data[_DEPTH_AT]
    if isinstance(clear, int) and b"PLTE" not in first and depth in (2, 4):
        info["transparency"] = clear * 255 // (2**depth - 1)
    elif isinstance(clear, tuple) and depth == 16:  # Pillow keeps the higher 8 bits of these pixels
        info["transparency"] = tuple(sample >> 8 for sample in clear)


def _chunks_before_pixels(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = _SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length
