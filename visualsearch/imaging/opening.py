"""Opens picture files: reads headers and judges what decoding will cost. Decodes no pixels."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from visualsearch.domain.errors import BrokenImage, ImageTooLarge, VisualSearchError
from visualsearch.domain.images import MAX_PIXELS, MAX_UPLOAD_BYTES, MIN_SIDE
from visualsearch.imaging.decoding_cost import CHEAP, TooExpensiveHere, decoding_cost
from visualsearch.imaging.formats.png_info import correct_info
from visualsearch.imaging.formats.table import format_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# Pillow would warn above 89 megapixels and accept the picture. open_picture checks the size instead.
Image.MAX_IMAGE_PIXELS = None
# Pillow would warn of damaged metadata: up to 65,535 lines in the log for one picture, each remembered for ever.
warnings.filterwarnings("ignore", module=r"PIL\.")

_here = threading.local()


def open_picture(data: bytes) -> Image.Image:
    """Read the header and check type and size, without decoding pixels.

    Raises ``UnsupportedImage``, ``BrokenImage`` or ``ImageTooLarge``; ``TooExpensiveHere`` within ``cheaply``. What
    Pillow raises besides is for ``damage_is_ours``.
    """
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The file has {len(data):,} bytes; at most {MAX_UPLOAD_BYTES:,} are taken.")
    kind = format_of(data)
    scans = kind.scans(data)
    image = Image.open(BytesIO(data), formats=(kind.name,))
    _check_size(image)
    # Phones store JPEGs with an extra preview frame (MPO); the first frame is the picture.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BrokenImage("The picture is animated; send a single frame.")
    _check_cost(decoding_cost(image, scans))
    if image.format == "PNG":  # Pillow decodes damaged pixels without an error, so check the checksums
        image.verify()
        image = Image.open(BytesIO(data), formats=("PNG",))
        correct_info(image.info, data)
    return image


def cheaply(
    work: Callable[..., T], *values: object, most: int | None = None, weigh: Callable[[int], None] | None = None
) -> T:
    """Run a function that opens pictures in this thread; raises ``TooExpensiveHere`` if one costs too much.

    That is more than ``most``, by default ``CHEAP``. ``weigh`` is called with the ``decoding_cost`` of each picture,
    before it is decoded.
    """
    _here.cheap_only, _here.most, _here.weigh = True, CHEAP if most is None else most, weigh
    try:
        return work(*values)
    finally:
        _here.cheap_only, _here.weigh = False, None


@contextmanager
def damage_is_ours() -> Iterator[None]:
    """Turn whatever Pillow raises into ``BrokenImage``."""
    try:
        yield
    except VisualSearchError:
        raise
    except Exception:  # Pillow raises a dozen kinds for damaged files, bare SyntaxError and struct.error among them.
        raise BrokenImage("The picture is damaged and cannot be decoded; save it anew and try again.") from None


def _check_size(image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise ImageTooLarge(f"The picture has {pixels:,} pixels; at most {MAX_PIXELS:,} are taken. Shrink it.")
    if min(image.size) < MIN_SIDE:
        raise BrokenImage(
            f"The picture is {image.width}x{image.height}; each side must have {MIN_SIDE} pixels or more."
        )


def _check_cost(cost: int) -> None:
    if (weigh := getattr(_here, "weigh", None)) is not None:
        weigh(cost)
    if getattr(_here, "cheap_only", False) and cost > _here.most:
        raise TooExpensiveHere
