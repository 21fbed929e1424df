"""HEIC: HEVC pictures in HEIF, as telephones of Apple write them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

from visualsearch.imaging.formats.format import Format, Inspection
from visualsearch.imaging.formats.iso_media import largest_size
from visualsearch.imaging.formats.refusals import unsupported

if TYPE_CHECKING:
    from PIL import Image

AVAILABLE = find_spec("pi_heif") is not None
"""Whether the extra ``heic`` is installed. It is optional, because HEVC is patented in some countries."""


def inspect(data: bytes) -> Inspection:
    """Read the size.

    Raises ``BrokenImage`` over ``MAX_BOXES`` boxes; ``UnsupportedImage`` if the decoder is not installed.
    """
    if not AVAILABLE:
        raise unsupported("a HEIC picture", "let the operator install the extra 'heic' (docs/formats.md), or ")
    return Inspection(data, largest_size(data), apart=True)


def opened(found: Inspection) -> Image.Image:
    """Read the header; raises ``UnsupportedImage`` if the picture is coded otherwise than by HEVC."""
    # Here, because the library is needed in the process that decodes, and nowhere else.
    from pi_heif import HeifImageFile, options

    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    try:
        image: Image.Image = HeifImageFile(BytesIO(found.data))
    except SyntaxError as error:
        if "nsupported" in str(error):
            raise unsupported("a HEIF picture of an unusual coding") from None
        raise
    return image


HEIC = Format(
    name="HEIC",
    plugin="HEIF",
    media_type="image/heic",
    extension="heic",
    signature=re.compile(
        rb".{4}ftyp(?:he(?:i[cxms]|v[cxms])|m[is]f1.{4}(?:.{4}){0,15}?he(?:i[cxms]|v[cxms]))", re.DOTALL
    ),
    passes=20,
    bytes_per_pixel=25,
    read="The primary picture, turned as its container says. Gain maps and videos are ignored. 10 bits as 8.",
    limits="20,000 boxes. Always decoded in a process of its own.",
    browsers=False,
    extra="heic",
    inspect=inspect,
    open=opened,
)
