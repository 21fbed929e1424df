"""What a picture will cost to decode, in time and in memory, judged from its header and markers. Decodes nothing.

Files of some hundred bytes can ask for minutes of work: a JPEG of several scans, progressive or not, is gone over once
for each scan, and a file may have thousands of scans of ten bytes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from visualsearch.domain.errors import BrokenImage, ImageTooLarge, VisualSearchError
from visualsearch.domain.images import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

    from visualsearch.imaging.formats.format import Format

QUICK = 16_000_000
"""Up to this cost a picture is decoded within some 50 ms: a photo of 12 megapixels, a screenshot of 2."""
CHEAP = 64_000_000
"""Up to this cost a picture is decoded in a thread: within about 0.25 s, in 200 MB at most."""
HIGHEST = 2_000_000_000
"""The highest cost that is accepted, about 3 s: that of a progressive JPEG of 200 megapixels with 10 scans."""
DECODING_BYTES = 1_600_000_000
"""The most memory that decoding one picture may take."""
FULL_SIZE_BYTES, PROGRESSIVE_BYTES = 8, 14
"""What a pixel takes of a JPEG that is not scaled down while it is decoded: Pillow's 4 bytes, 4 to turn it, and the
coefficients of a progressive one."""


class TooExpensiveHere(VisualSearchError):
    """The picture costs more than may be decoded here. ``cost`` is infinite if its decoder must be interruptible."""

    def __init__(self, cost: float = inf) -> None:
        super().__init__("The picture must be decoded elsewhere.")
        self.cost = cost


def most_pixels(kind: Format) -> int:
    """Return how many pixels a picture of a format may have."""
    return min(MAX_PIXELS, DECODING_BYTES // kind.bytes_per_pixel)


def decoding_cost(kind: Format, width: int, height: int, scans: int = 1) -> int:
    """Estimate the cost of decoding a picture, in pixels times passes over them.

    Raises ``BrokenImage`` above ``HIGHEST``.
    """
    cost = width * height * kind.passes * scans
    if cost > HIGHEST:
        raise BrokenImage(
            f"The picture takes too long to decode: it has {scans} scans of {width}x{height} pixels. "
            "Save it as a baseline JPEG, or shrink it."
        )
    return cost


def check_full_size(image: Image.Image) -> None:
    """Raise ``ImageTooLarge`` if a JPEG, decoded in full to show a small box, takes too much memory."""
    most = DECODING_BYTES // (PROGRESSIVE_BYTES if "progression" in image.info else FULL_SIZE_BYTES)
    if image.width * image.height > most:
        raise ImageTooLarge(
            f"A box this small needs the picture in full, and {image.width}x{image.height} pixels are too many for "
            f"that: at most {most:,} are taken. Draw a larger box, or shrink the picture."
        )
