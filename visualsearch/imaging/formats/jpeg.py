"""JPEG, as cameras and telephones write it."""

from __future__ import annotations

import re

from visualsearch.imaging.formats.format import Format
from visualsearch.imaging.formats.parts import one_more

MAX_EXIF_PARTS = 64
"""Segments of EXIF in a JPEG; a sound file has one. Pillow copies all earlier ones for each."""
START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
WITHOUT_LENGTH = {0xFF, 0x01, 0xD8}
"""Fill bytes and the markers that no segment follows."""
_EXIF = b"Exif\0\0"
# In compressed data 0xFF is followed by 0x00, or is a restart marker, D0 to D7.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)


def scans(data: bytes) -> int:
    """Count the scans of a JPEG file's first picture.

    Raises ``BrokenImage`` over ``MAX_PARTS`` segments, or ``MAX_EXIF_PARTS`` of EXIF.
    """
    count = position = parts = exif = 0
    while found := _MARKER.search(data, position):
        parts = one_more(parts)
        marker, position = data[found.end() - 1], found.end()
        if marker == END_OF_IMAGE:
            break
        if marker == 0xFF:
            position -= 1
        elif marker not in WITHOUT_LENGTH:
            if data.startswith(_EXIF, position + 2):
                exif = one_more(exif, MAX_EXIF_PARTS, "segments of EXIF")
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        count += marker == START_OF_SCAN
    return count


JPEG = Format("JPEG", "jpg", re.compile(rb"\xff\xd8\xff"), scans)
