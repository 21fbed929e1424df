"""Boxes in pictures: parses them, and checks that they lie inside."""

from __future__ import annotations

import re

from visualsearch.domain.errors import InvalidBox
from visualsearch.domain.images import Box

_BOX = re.compile(r"\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*", re.ASCII)


def parse_box(text: str) -> Box:
    """Parse a box ``x1,y1,x2,y2``, in pixels of the upright picture; x2 and y2 are exclusive.

    Raises ``InvalidBox`` if it is malformed, is empty, or has a negative corner.
    """
    found = _BOX.fullmatch(text)
    if not found:
        raise InvalidBox("The box must be four whole numbers of pixels, x1,y1,x2,y2, such as 10,20,110,220.")
    box = Box(*(int(number) for number in found.groups()))
    if box.x1 < 0 or box.y1 < 0:
        raise InvalidBox(f"The box {box} begins outside the picture: x1 and y1 must be 0 or more.")
    _check_not_empty(box)
    return box


def box_inside(box: Box | None, width: int, height: int) -> Box:
    """Return the box, or the whole picture if there is none.

    Raises ``InvalidBox`` if it is empty or reaches outside the upright picture of ``width`` times ``height`` pixels.
    """
    if box is None:
        return Box(0, 0, width, height)
    _check_not_empty(box)
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise InvalidBox(f"The box {box} is not inside the upright picture, which is {width}x{height} pixels.")
    return box


def _check_not_empty(box: Box) -> None:
    if box.width <= 0 or box.height <= 0:
        raise InvalidBox(f"The box {box} is empty: x2 must be greater than x1, and y2 greater than y1.")
