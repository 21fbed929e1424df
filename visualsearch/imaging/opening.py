"""Opens picture files: reads headers and judges what decoding will cost, before anything is decoded."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from visualsearch.domain.errors import BrokenImage, ImageTooLarge, VisualSearchError
from visualsearch.domain.images import MAX_PIXELS, MAX_UPLOAD_BYTES, MIN_SIDE
from visualsearch.imaging.decoding_cost import CHEAP, TooExpensiveHere, decoding_cost, most_pixels
from visualsearch.imaging.formats.table import format_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visualsearch.imaging.formats.format import Format

T = TypeVar("T")

# Pillow raises above twice as many; before, open_picture refuses what a format may not have.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Pillow would warn of damaged metadata: up to 65,535 lines in the log for one picture, each remembered for ever.
warnings.filterwarnings("ignore", module=r"PIL\.")

_here = threading.local()


def open_picture(data: bytes) -> Image.Image:
    """Read the header and check type and size. Decodes pixels only where a format's ``finish`` does.

    Raises ``UnsupportedImage``, ``BrokenImage`` or ``ImageTooLarge``; ``TooExpensiveHere`` within ``cheaply``. What
    Pillow raises besides is for ``damage_is_ours``.
    """
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The file has {len(data):,} bytes; at most {MAX_UPLOAD_BYTES:,} are taken.")
    kind = format_of(data)
    found = kind.inspect(data)
    if found.size is not None:
        _check_size(kind, *found.size)
        _check_cost(decoding_cost(kind, *found.size, found.scans))
    if found.apart and getattr(_here, "cheap_only", False):
        raise TooExpensiveHere
    image = kind.opened(found)
    _check_size(kind, *image.size)
    if found.size is None:
        _check_cost(decoding_cost(kind, *image.size, found.scans))
    return kind.finish(image, found)


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
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"The picture has more than {2 * MAX_PIXELS:,} pixels. Shrink it.") from None
    except Exception:  # Pillow raises a dozen kinds for damaged files, bare SyntaxError and struct.error among them.
        raise BrokenImage("The picture is damaged and cannot be decoded; save it anew and try again.") from None


def _check_size(kind: Format, width: int, height: int) -> None:
    pixels, most = width * height, most_pixels(kind)
    if pixels > most:
        raise ImageTooLarge(f"The picture has {pixels:,} pixels; of a {kind.name} {most:,} are taken. Shrink it.")
    if min(width, height) < MIN_SIDE:
        raise BrokenImage(f"The picture is {width}x{height}; each side must have {MIN_SIDE} pixels or more.")


def _check_cost(cost: int) -> None:
    if (weigh := getattr(_here, "weigh", None)) is not None:
        weigh(cost)
    if getattr(_here, "cheap_only", False) and cost > _here.most:
        raise TooExpensiveHere(cost)
