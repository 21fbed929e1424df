"""The formats that are accepted. A format is added by adding its entry here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage, UnsupportedImage
from visualsearch.imaging.formats.jpeg import JPEG
from visualsearch.imaging.formats.png import PNG
from visualsearch.imaging.formats.webp import WEBP

if TYPE_CHECKING:
    from visualsearch.imaging.formats.format import Format

FORMATS = (JPEG, PNG, WEBP)


def format_of(data: bytes) -> Format:
    """Return the format of a picture by its first bytes.

    Raises ``UnsupportedImage`` for a format that is not accepted, and ``BrokenImage`` for an empty file.
    """
    if not data:
        raise BrokenImage("The file is empty; send a JPEG, PNG or WebP picture.")
    for one in FORMATS:
        if one.signature.match(data):
            return one
    raise UnsupportedImage("The file is not a JPEG, PNG or WebP picture by its content; convert it to one of these.")


def content_type(data: bytes) -> str:
    """Return the media type of a picture by its first bytes, such as image/jpeg; raises what ``format_of`` raises."""
    return format_of(data).media_type
