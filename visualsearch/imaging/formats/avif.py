"""AVIF."""

from __future__ import annotations

import re

from PIL import AvifImagePlugin

from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.iso_media import largest_size
from visualsearch.imaging.formats.refusals import unsupported

# By default a thread for each core. A picture has one core: others wait for theirs.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def inspect(data: bytes) -> Inspection:
    """Read the size.

    Raises ``BrokenImage`` over ``MAX_BOXES`` boxes; ``UnsupportedImage`` if Pillow was built without the decoder.
    """
    if not AvifImagePlugin.SUPPORTED:
        raise unsupported("an AVIF picture", "this installation of Pillow has no decoder for it: ")
    return Inspection(data, largest_size(data), apart=True)


AVIF = Format(
    name="AVIF",
    plugin="AVIF",
    media_type="image/avif",
    extension="avif",
    signature=re.compile(rb".{4}ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,15}?avi[fs])", re.DOTALL),
    passes=12,
    bytes_per_pixel=25,
    read="The primary picture, turned as its container says; the first frame of a sequence. 10 and 12 bits as 8.",
    limits="20,000 boxes. Always decoded in a process of its own.",
    inspect=inspect,
)
