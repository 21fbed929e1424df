"""What a picture will cost to decode, judged from its header and markers. Decodes nothing.

Files of some hundred bytes can ask for minutes of work: a JPEG of several scans, progressive or not, is gone over once
for each scan, and a file may have thousands of scans of ten bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage, VisualSearchError

if TYPE_CHECKING:
    from PIL import Image

QUICK = 16_000_000
"""Up to this cost a picture is decoded within some 50 ms: a photo of 12 megapixels, a screenshot of 2."""
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


class TooExpensiveHere(VisualSearchError):
    """The picture must be decoded where it can be interrupted."""


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
