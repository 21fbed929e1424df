"""What a picture will cost to decode, judged from its header and markers. Decodes nothing.

Files of some hundred bytes can ask for minutes of work: a JPEG of several scans, progressive or not, is gone over once
for each scan, and a file may have thousands of scans of ten bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage, VisualSearchError

if TYPE_CHECKING:
    from PIL import Image

CHEAP = 64_000_000
"""Up to this cost a picture is decoded in a thread: within about 0.25 s, in 200 MB at most."""
HIGHEST = 2_000_000_000
"""The highest cost that is accepted, about 3 s: twice that of a progressive JPEG of 50 megapixels with 20 scans."""
PASSES = {"JPEG": 1, "MPO": 1, "PNG": 6, "WEBP": 7}
"""What a pixel costs, in scans of a JPEG (1.2 ns each). PNG and WebP are decoded in full size, with up to 9 bytes for a
pixel and 24 ns. A screenshot in 4K (8.3 megapixels) is cheap still."""
BUFFERED = 2
"""The least passes of a progressive JPEG, all of whose coefficients are kept: 6 bytes for a pixel."""
INTERLACED = 2
MAX_PARTS = 50_000
"""Segments of a JPEG or chunks of a PNG. Reading that many takes some 50 ms; 20 MB of PNG in usual chunks has 2,500."""
MAX_EXIF_PARTS = 64
"""Segments of EXIF in a JPEG; a sound file has one. Pillow copies all earlier ones for each."""
MAX_COMPRESSED = 50
"""Compressed texts and profiles in a PNG. Pillow unpacks up to 1 MB of each, which takes some 2 ms."""
START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
WITHOUT_LENGTH = {0xFF, 0x01, 0xD8}
"""Fill bytes and the markers that no segment follows."""
_EXIF = b"Exif\0\0"
_COMPRESSED = {b"iCCP", b"zTXt", b"iTXt"}
# In compressed data 0xFF is followed by 0x00, or is a restart marker, D0 to D7.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)
_PNG_SIGNATURE_BYTES = 8
_PNG_CHUNK_BYTES = 12
"""Length, type and checksum."""


class TooExpensiveHere(VisualSearchError):
    """The picture must be decoded where it can be interrupted."""


def scans(data: bytes) -> int:
    """Count the scans of a JPEG file's first picture.

    Raises ``BrokenImage`` over ``MAX_PARTS`` segments, or ``MAX_EXIF_PARTS`` of EXIF.
    """
    count = position = parts = exif = 0
    while found := _MARKER.search(data, position):
        parts = _one_more(parts)
        marker, position = data[found.end() - 1], found.end()
        if marker == END_OF_IMAGE:
            break
        if marker == 0xFF:
            position -= 1
        elif marker not in WITHOUT_LENGTH:
            if data.startswith(_EXIF, position + 2):
                exif = _one_more(exif, MAX_EXIF_PARTS, "segments of EXIF")
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        count += marker == START_OF_SCAN
    return count


def check_chunks(data: bytes) -> None:
    """Raise ``BrokenImage`` over ``MAX_PARTS`` chunks of a PNG file, or ``MAX_COMPRESSED`` compressed texts."""
    position, parts, compressed = _PNG_SIGNATURE_BYTES, 0, 0
    while position < len(data):
        parts = _one_more(parts)
        if data[position + 4 : position + 8] in _COMPRESSED:
            compressed = _one_more(compressed, MAX_COMPRESSED, "compressed texts and profiles")
        position += _PNG_CHUNK_BYTES + int.from_bytes(data[position : position + 4], "big")


def decoding_cost(image: Image.Image, scans: int = 1) -> int:
    """Estimate the cost of decoding an opened picture, in pixels times passes over them.

    Raises ``BrokenImage`` above ``HIGHEST``.
    """
    passes = PASSES[image.format or "JPEG"]
    if image.info.get("interlace"):
        passes *= INTERLACED
    least = BUFFERED if "progression" in image.info else 1
    cost = image.width * image.height * passes * max(least, scans)
    if cost > HIGHEST:
        raise BrokenImage(
            f"The picture takes too long to decode: it has {scans} scans of {image.width}x{image.height} pixels. "
            "Save it as a baseline JPEG, or shrink it."
        )
    return cost


def _one_more(parts: int, most: int = MAX_PARTS, what: str = "segments") -> int:
    if parts >= most:
        raise BrokenImage(f"The file has more than {most:,} {what}, which no camera or program writes; save it anew.")
    return parts + 1
