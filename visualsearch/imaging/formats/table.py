"""The formats that are accepted. A format is added by adding its entry here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage, UnsupportedImage
from visualsearch.imaging.formats.avif import AVIF
from visualsearch.imaging.formats.bmp import BMP
from visualsearch.imaging.formats.gif import GIF
from visualsearch.imaging.formats.heic import HEIC
from visualsearch.imaging.formats.jpeg import JPEG
from visualsearch.imaging.formats.others import name_of
from visualsearch.imaging.formats.png import PNG
from visualsearch.imaging.formats.refusals import unsupported
from visualsearch.imaging.formats.tiff import TIFF
from visualsearch.imaging.formats.webp import WEBP

if TYPE_CHECKING:
    from visualsearch.imaging.formats.format import Format

FORMATS = (JPEG, PNG, WEBP, GIF, AVIF, HEIC, TIFF, BMP)
NAMES = ", ".join(one.name for one in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
"""For messages: "JPEG, PNG, ... or BMP"."""
MEDIA_TYPES = tuple(one.media_type for one in FORMATS)
_LONGEST_SIGNATURE = 4096


def format_of(data: bytes) -> Format:
    """Return the format of a picture by its first bytes.

    Raises ``UnsupportedImage`` for a format that is not accepted, and ``BrokenImage`` for an empty file.
    """
    if not data:
        raise BrokenImage("The file is empty; send a picture, such as a JPEG, PNG or WebP file.")
    for one in FORMATS:
        if one.signature.match(data):
            return one
    if what := name_of(data[:_LONGEST_SIGNATURE]):
        raise unsupported(what)
    raise UnsupportedImage(f"The file is not a {NAMES} picture by its content; convert it to JPEG, PNG or WebP.")


def content_type(data: bytes) -> str:
    """Return the media type of a picture by its first bytes, such as image/jpeg; raises what ``format_of`` raises."""
    return format_of(data).media_type
