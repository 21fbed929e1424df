"""The upright picture: which way a picture must be turned, and the region of a box in it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from visualsearch.imaging.decoding_cost import check_full_size

if TYPE_CHECKING:
    from visualsearch.domain.images import Box

_ORIENTATION = 0x0112
_ONE_SHORT = (3, 1)
"""Type and number of the values that an orientation must have."""
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_EXIF_PREFIX_BYTES = 6
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = {5, 6, 7, 8}
"""EXIF orientations that swap width and height."""


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a picture as browsers read it, 1 to 8; 1 if it has none or a damaged one.

    They read neither XMP, nor the EXIF of a WebP.
    """
    return 1 if image.format == "WEBP" else _orientation_in(_exif(image))


def _exif(image: Image.Image) -> bytes:
    """Return the first EXIF of a picture, from its byte order on; nothing if it has none."""
    if isinstance(image, JpegImageFile):  # Pillow joins the segments of several, as if they were one
        segments = (content for name, content in image.applist if name == "APP1" and content.startswith(b"Exif\0"))
        return next(segments, b"")[_EXIF_PREFIX_BYTES:]
    exif = image.info.get("exif")
    if not isinstance(exif, bytes):
        return b""
    return exif if image.format == "PNG" else exif.removeprefix(b"Exif\0\0")


def _orientation_in(tiff: bytes) -> int:
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(entries):
            tag, kind, count, turn = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return turn if (kind, count) == _ONE_SHORT and turn in _UPRIGHT else 1
    except struct.error:  # damaged EXIF does not make a picture unusable
        pass
    return 1


def upright_size(image: Image.Image, turn: int) -> tuple[int, int]:
    """Return width and height of a picture after it is turned."""
    return (image.height, image.width) if turn in _LYING else image.size


def upright_region(image: Image.Image, turn: int, box: Box, side: int) -> Image.Image:
    """Decode a picture and return the boxed region, upright.

    Decodes a JPEG at 1/2, 1/4 or 1/8 of its size if both sides of the region keep at least ``side`` pixels.
    """
    before = image.size
    keep = side / min(box.width, box.height)
    image.draft(None, (int(image.width * keep) + 1, int(image.height * keep) + 1))
    if image.size == before:
        check_full_size(image)
    scale_x, scale_y = image.width / before[0], image.height / before[1]
    if turn in _LYING:
        scale_x, scale_y = scale_y, scale_x
    if turn in _UPRIGHT:
        image = image.transpose(_UPRIGHT[turn])
    left, top = round(box.x1 * scale_x), round(box.y1 * scale_y)
    right, bottom = round(box.x2 * scale_x), round(box.y2 * scale_y)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
