"""What a picture will cost to decode, judged from its header and markers. Decodes nothing.

Files of some hundred bytes can ask for minutes of work: a progressive JPEG goes over all of its pixels once for each
scan, and a file may have thousands of scans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage, VisualSearchError

if TYPE_CHECKING:
    from PIL import Image

CHEAP = 64_000_000
"""Up to this cost a picture is decoded in a thread: within about 0.1 s, in 200 MB."""
HIGHEST = 2_000_000_000
"""The highest cost that is accepted, about 3 s: twice that of a progressive JPEG of 50 megapixels with 20 scans."""
PASSES = {"JPEG": 1, "MPO": 1, "PNG": 2, "WEBP": 4}
"""What a pixel costs, in scans of a JPEG (1.2 ns each). PNG and WebP are decoded in full size."""
INTERLACED = 2
START_OF_SCAN = b"\xff\xda"


class TooExpensiveHere(VisualSearchError):
    """The picture must be decoded where it can be interrupted."""


def decoding_cost(image: Image.Image, data: bytes) -> int:
    """Estimate the cost of decoding an opened picture, in pixels times passes over them.

    Raises ``BrokenImage`` above ``HIGHEST``.
    """
    passes = PASSES[image.format or "JPEG"]
    # The bytes of a marker cannot occur in compressed data. In a preview inside the file they count too, by one or two.
    scans = data.count(START_OF_SCAN) if "progression" in image.info else 1
    if image.info.get("interlace"):
        passes *= INTERLACED
    cost = image.width * image.height * passes * max(1, scans)
    if cost > HIGHEST:
        raise BrokenImage(
            f"The picture takes too long to decode: it has {scans} scans of {image.width}x{image.height} pixels. "
            "Save it as a baseline JPEG, or shrink it."
        )
    return cost
