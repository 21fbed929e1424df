"""JPEG, as cameras and telephones write it."""

from __future__ import annotations

import re
import struct
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from visualsearch.domain.errors import BrokenImage
from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.parts import one_more
from visualsearch.imaging.formats.refusals import unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_EXIF_PARTS = 64
"""Segments of EXIF in a JPEG; a sound file has one. Pillow copies all earlier ones for each."""
MAX_MISSING_ROWS = 0
"""Rows of pixels that may lack at the end of a file without an end marker."""
BUFFERED = 2
"""The least scans of a progressive JPEG, all of whose coefficients are kept: 6 bytes for a pixel."""
START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
WITHOUT_LENGTH = {0xFF, 0x01, 0xD8}
"""Fill bytes and the markers that no segment follows."""
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = {0xC2, 0xCA}
UNSUPPORTED_FRAMES = {0xC3: "a lossless JPEG", 0xCB: "a lossless JPEG", 0xF7: "a JPEG-LS picture"} | dict.fromkeys(
    (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"
)
_FRAME_BYTES = 7
_EXIF = b"Exif\0\0"
# In compressed data 0xFF is followed by 0x00, or is a restart marker, D0 to D7.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)
_END = b"\xff\xd9"
_MORE = bytes(range(1, 255)) * 2
# Restart markers, because a decoder that waits for one skips everything else.
_OTHER_END = _MORE + b"".join(bytes([0xFF, 0xD0 + number % 8]) + _MORE for number in range(16)) + _END
_COEFFICIENTS = 64


def inspect(data: bytes) -> Inspection:
    """Count the scans of a file's first picture, and find its coding and its end.

    Raises ``BrokenImage`` over ``MAX_PARTS`` segments, or ``MAX_EXIF_PARTS`` of EXIF; ``UnsupportedImage`` for codings
    that only special programs write.
    """
    scans = position = parts = exif = 0
    least, size = 1, None
    while found := _MARKER.search(data, position):
        parts = one_more(parts)
        marker, position = data[found.end() - 1], found.end()
        if marker == END_OF_IMAGE:
            return Inspection(data, size, max(least, scans))
        if scans and not _follows_a_scan(marker, data[position : position + 3]):
            return _ended(data[: found.start()], size, max(least, scans))
        if marker == 0xFF:
            position -= 1
        elif marker not in WITHOUT_LENGTH:
            if data.startswith(_EXIF, position + 2):
                exif = one_more(exif, MAX_EXIF_PARTS, "segments of EXIF")
            if marker in FRAMES and not scans:
                least, size = _frame(marker, data[position : position + _FRAME_BYTES])
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        scans += marker == START_OF_SCAN
    return _ended(data, size, max(least, scans))


def _follows_a_scan(marker: int, content: bytes) -> bool:
    """Return whether a marker and what is behind it can be of the picture. What is behind a picture can be anything."""
    length, first = int.from_bytes(content[:2], "big"), content[2] if len(content) > 2 else 0
    match marker:
        case 0xDA:
            return 1 <= first <= 4 and length == 6 + 2 * first
        case 0xC4 | 0xDB:
            return first & 0xEC == 0
        case 0xDC | 0xDD:
            return length == 4
    return marker in {0xFF, 0xFE, *range(0xE0, 0xF0)}


def _frame(marker: int, content: bytes) -> tuple[int, tuple[int, int] | None]:
    """Return the least number of scans of a coding, and width and height; None if the file ends before."""
    if marker in UNSUPPORTED_FRAMES:
        raise unsupported(UNSUPPORTED_FRAMES[marker])
    if len(content) < _FRAME_BYTES:
        return 1, None
    _, precision, height, width = struct.unpack(">HBHH", content)
    if precision != 8:
        raise unsupported(f"a {precision}-bit JPEG")
    return BUFFERED if marker in PROGRESSIVE else 1, (width, height)


def _ended(data: bytes, size: tuple[int, int] | None, scans: int) -> Inspection:
    """Give a file its end marker, in place of the zeros that a copied memory card may have behind the picture."""
    data = data.rstrip(b"\0")
    data += b"\0" if data.endswith(b"\xff") else b""  # 0xFF 0x00 is 0xFF in compressed data
    return Inspection(data + _END, size, scans, ends_early=True)


def check_rows(image: Image.Image, found: Inspection) -> Image.Image:
    """Raise ``BrokenImage`` if a file without an end marker lacks more than ``MAX_MISSING_ROWS`` rows."""
    if found.ends_early:
        progressive = "progression" in image.info
        missing = image.height if progressive and not _has_all_scans(found.data) else _missing_rows(found.data, image)
        if missing > MAX_MISSING_ROWS:
            raise BrokenImage(
                f"The file is cut off: of {image.height} rows of pixels about {missing} are missing. Send it whole."
            )
    return image


def _missing_rows(data: bytes, image: Image.Image) -> int:
    """Decode with two different endings; what differs was not in the file.

    A sequential JPEG is decoded at 1/8 of its size, which takes no memory. A progressive one is decoded whole.
    """
    scale = 1 if "progression" in image.info else 8
    size = (-(-image.width // scale), -(-image.height // scale))
    one, other = (_pixels(data[: -len(_END)] + end, size) for end in (_END, _OTHER_END))
    differing = np.flatnonzero((one != other).reshape(len(one), -1).any(axis=1))
    return image.height - int(differing[0]) * scale if differing.size else 0


def _pixels(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    image = Image.open(BytesIO(data), formats=("JPEG",))
    image.draft(None, size)
    return np.asarray(image)


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans of a progressive JPEG end with the last bit of every coefficient."""
    components, lacking, position = 0, set[tuple[int, int]](), 0
    while found := _MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker in PROGRESSIVE:
            components = data[position + 7]
            names = (data[position + 8 + 3 * number] for number in range(components))
            lacking = set(chain.from_iterable(((name, one) for one in range(_COEFFICIENTS)) for name in names))
        elif marker == START_OF_SCAN:
            lacking -= _finished(data, position)
        if marker not in WITHOUT_LENGTH and marker != END_OF_IMAGE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return not lacking


def _finished(data: bytes, position: int) -> set[tuple[int, int]]:
    """Return the components and coefficients whose last bit is in the scan with a header at a position."""
    number = data[position + 2]
    names = [data[position + 3 + 2 * one] for one in range(number)]
    first, last, bits = data[position + 3 + 2 * number : position + 6 + 2 * number]
    return set() if bits & 0x0F else {(name, one) for name in names for one in range(first, last + 1)}


JPEG = Format(
    name="JPEG",
    plugin="JPEG",
    media_type="image/jpeg",
    extension="jpg",
    signature=re.compile(rb"\xff\xd8\xff"),
    passes=1,
    bytes_per_pixel=6,
    read="The first picture of the file, baseline or progressive, also arithmetic-coded. Previews, gain maps and "
    "videos behind it are ignored. Large pictures are decoded at 1/2, 1/4 or 1/8 of their size.",
    limits="64 segments of EXIF; scans times pixels, so that decoding takes 3 s at most. A file without its end marker "
    "is accepted if all its rows are there.",
    inspect=inspect,
    finish=check_rows,
)
