"""Converts picture files to pixels for the encoder. Pure: uses no server, no file and no setting.

Whatever the bytes are, it raises only errors of ``visualsearch.domain.errors``.
"""

from __future__ import annotations

import hashlib
from io import BytesIO

import imagehash
import numpy as np
from PIL import Image

from visualsearch.domain.colour_layout import colour_layout
from visualsearch.domain.images import IMAGE_SIDE, Box, Decoded, Prepared
from visualsearch.imaging.backdrop import backdrop, is_opaque, on
from visualsearch.imaging.boxes import box_inside
from visualsearch.imaging.colour import resizable, srgb
from visualsearch.imaging.opening import damage_is_ours, open_picture
from visualsearch.imaging.orientation import orientation, upright_region, upright_size

PREPROCESSING = "squash-224-bicubic-srgb-white-v1"
"""Version of what ``prepare`` does to ordinary pictures, opaque and in sRGB. It is part of the fingerprint: no index of
another version is used. Change it whenever the pixels of such pictures change. If only others do, raise
``PIXEL_REVISION`` of ``domain/releases``."""
SQUARE = (IMAGE_SIDE, IMAGE_SIDE)
_THUMBNAIL_QUALITY = 85


def dimensions(data: bytes) -> tuple[int, int]:
    """Return width and height of the upright picture in pixels, decoding only a TIFF.

    Raises ``UnsupportedImage``, ``BrokenImage`` or ``ImageTooLarge``, as ``decode`` does.
    """
    with damage_is_ours():
        image = open_picture(data)
        return upright_size(image, orientation(image))


def decode(data: bytes, box: Box | None = None) -> Decoded:
    """Decode a picture file, or a box inside it, for the encoder.

    Raises ``UnsupportedImage`` if its content is of no format of ``formats.table``; ``ImageTooLarge`` over 20 MB or the
    pixels of its format, before anything is decoded; ``BrokenImage`` if it is damaged, takes too long or has a side
    under 16 pixels; ``InvalidBox`` if the box is empty or reaches outside the upright picture.
    """
    with damage_is_ours():
        image = open_picture(data)
        turn = orientation(image)
        width, height = upright_size(image, turn)
        region = upright_region(image, turn, box_inside(box, width, height), IMAGE_SIDE)
        return Decoded(np.array(_shrunk(region, SQUARE)), width, height)


def prepare(data: bytes, box: Box | None = None) -> Prepared:
    """Decode and hash a picture file, or a box inside it, for the index. Takes twice as long as ``decode``.

    Raises what ``decode`` raises.
    """
    decoded = decode(data, box)
    small = Image.fromarray(decoded.pixels)
    mirrored = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    hashes = _phash(small), _phash(mirrored)
    return Prepared(decoded.pixels, decoded.width, decoded.height, *hashes, colour_layout(decoded.pixels))


def thumbnail(data: bytes, size: int) -> bytes:
    """Shrink a picture until its longer side has at most ``size`` pixels; return a JPEG file without metadata.

    The result is upright, in sRGB, with transparency on the colour that ``decode`` shows it on. Raises what ``decode``
    raises.
    """
    with damage_is_ours():
        image = open_picture(data)
        turn = orientation(image)
        width, height = upright_size(image, turn)
        factor = min(1.0, size / max(width, height))
        shrunk = (max(1, round(width * factor)), max(1, round(height * factor)))
        small = _shrunk(upright_region(image, turn, Box(0, 0, width, height), min(shrunk)), shrunk)
        out = BytesIO()
        # Copy the pixels: a resized picture still carries EXIF, comments and profiles, and saving would write them.
        Image.fromarray(np.asarray(small)).save(out, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)
        return out.getvalue()


def fingerprint(model: bytes) -> str:
    """Return SHA-256 in hex of an encoder's ONNX file and the version of its preprocessing."""
    return hashlib.sha256(model + PREPROCESSING.encode()).hexdigest()


def _shrunk(region: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a region in RGB and sRGB, on the backdrop that it has at the size for the encoder."""
    smooth = resizable(region)
    small = _resized(smooth, size)
    if small.mode == "RGB" or is_opaque(small):
        return small.convert("RGB")
    return on(backdrop(small if size == SQUARE else _resized(smooth, SQUARE)), small)


def _resized(smooth: Image.Image, size: tuple[int, int]) -> Image.Image:
    return srgb(smooth.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))


def _phash(image: Image.Image) -> int:
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")
