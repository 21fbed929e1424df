"""Converts picture files to pixels for the encoder. Pure: uses no server, no file and no setting.

Whatever the bytes are, it raises only errors of ``visualsearch.domain.errors``.
"""

from __future__ import annotations

import hashlib
import re
import threading
import warnings
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import imagehash
import numpy as np
from PIL import Image, ImageCms

from visualsearch.domain.errors import BrokenImage, ImageTooLarge, InvalidBox, UnsupportedImage, VisualSearchError
from visualsearch.domain.images import IMAGE_SIDE, MAX_PIXELS, MAX_UPLOAD_BYTES, MIN_SIDE, Box, Decoded, Prepared
from visualsearch.imaging.decoding_cost import CHEAP, TooExpensiveHere, check_chunks, decoding_cost, scans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

PREPROCESSING = "squash-224-bicubic-srgb-white-v1"
"""Version of the pixel processing in ``prepare``. It is part of the fingerprint; change it whenever the pixels
change."""

# Pillow would warn above 89 megapixels and accept the picture. _open checks the size instead.
Image.MAX_IMAGE_PIXELS = None
# Pillow would warn of damaged metadata: up to 65,535 lines in the log for one picture, each remembered for ever.
warnings.filterwarnings("ignore", module=r"PIL\.")

_MAGIC = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
_BOX = re.compile(r"\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*,\s*(-?\d{1,9})\s*", re.ASCII)
_ORIENTATION = 0x0112
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
_THUMBNAIL_QUALITY = 85
_here = threading.local()
_MAX_PROFILE_BYTES = 1_000_000


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
    if box.width <= 0 or box.height <= 0:
        raise InvalidBox(f"The box {box} is empty: x2 must be greater than x1, and y2 greater than y1.")
    return box


def content_type(data: bytes) -> str:
    """Return the media type of a picture by its first bytes: image/jpeg, image/png or image/webp.

    Raises ``UnsupportedImage`` for any other type, and ``BrokenImage`` for an empty file.
    """
    return f"image/{_format(data).lower()}"


def dimensions(data: bytes) -> tuple[int, int]:
    """Return width and height of the upright picture in pixels. Decodes the pixels of a PNG only.

    Raises ``UnsupportedImage``, ``BrokenImage`` or ``ImageTooLarge``, as ``decode`` does.
    """
    with _trouble_is_ours():
        image = _open(data)
        return _upright_size(image, _orientation(image))


def decode(data: bytes, box: Box | None = None) -> Decoded:
    """Decode a picture file, or a box inside it, for the encoder.

    Raises ``UnsupportedImage`` if its content is not JPEG, PNG or WebP; ``ImageTooLarge`` over 20 MB or 50 megapixels,
    before anything is decoded; ``BrokenImage`` if it is damaged, animated or has a side under 16 pixels; ``InvalidBox``
    if the box is empty or reaches outside the upright picture.
    """
    with _trouble_is_ours():
        image = _open(data)
        turn = _orientation(image)
        width, height = _upright_size(image, turn)
        region = _crop(image, turn, _inside(box, width, height), IMAGE_SIDE)
        small = _rgb(region.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0))
        return Decoded(np.array(small), width, height)


def prepare(data: bytes, box: Box | None = None) -> Prepared:
    """Decode and hash a picture file, or a box inside it, for the index. Takes twice as long as ``decode``.

    Raises what ``decode`` raises.
    """
    decoded = decode(data, box)
    small = Image.fromarray(decoded.pixels)
    mirrored = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Prepared(decoded.pixels, decoded.width, decoded.height, _phash(small), _phash(mirrored))


def thumbnail(data: bytes, size: int) -> bytes:
    """Shrink a picture until its longer side has at most ``size`` pixels; return a JPEG file without metadata.

    The result is upright, in sRGB, with transparency on white. Raises what ``decode`` raises.
    """
    with _trouble_is_ours():
        image = _open(data)
        turn = _orientation(image)
        width, height = _upright_size(image, turn)
        factor = min(1.0, size / max(width, height))
        shrunk = (max(1, round(width * factor)), max(1, round(height * factor)))
        region = _crop(image, turn, Box(0, 0, width, height), min(shrunk))
        out = BytesIO()
        small = _rgb(region.resize(shrunk, Image.Resampling.BICUBIC, reducing_gap=3.0))
        # Copy the pixels: a resized picture still carries EXIF, comments and profiles, and saving would write them.
        Image.fromarray(np.asarray(small)).save(out, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)
        return out.getvalue()


def cheaply(work: Callable[..., T], *values: object, weigh: Callable[[int], None] | None = None) -> T:
    """Run a function of this module in this thread; raises ``TooExpensiveHere`` if the picture is expensive.

    ``weigh`` is called with the ``decoding_cost`` of each picture, before it is decoded.
    """
    _here.cheap_only, _here.weigh = True, weigh
    try:
        return work(*values)
    finally:
        _here.cheap_only, _here.weigh = False, None


def fingerprint(model: bytes) -> str:
    """Return SHA-256 in hex of an encoder's ONNX file and the version of its preprocessing."""
    return hashlib.sha256(model + PREPROCESSING.encode()).hexdigest()


@contextmanager
def _trouble_is_ours() -> Iterator[None]:
    try:
        yield
    except VisualSearchError:
        raise
    except Exception:  # Pillow raises a dozen kinds for damaged files, bare SyntaxError and struct.error among them.
        raise BrokenImage("The picture is damaged and cannot be decoded; save it anew and try again.") from None


def _format(data: bytes) -> str:
    if not data:
        raise BrokenImage("The file is empty; send a JPEG, PNG or WebP picture.")
    for name, magic in _MAGIC.items():
        if magic.match(data):
            return name
    raise UnsupportedImage("The file is not a JPEG, PNG or WebP picture by its content; convert it to one of these.")


def _open(data: bytes) -> Image.Image:
    """Read the header and check type and size, without decoding pixels."""
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The file has {len(data):,} bytes; at most {MAX_UPLOAD_BYTES:,} are taken.")
    kind, passes = _format(data), 1
    # Judged first: Pillow takes long to read a header of millions of segments.
    if kind == "JPEG":
        passes = scans(data)
    elif kind == "PNG":
        check_chunks(data)
    image = Image.open(BytesIO(data), formats=(kind,))
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise ImageTooLarge(f"The picture has {pixels:,} pixels; at most {MAX_PIXELS:,} are taken. Shrink it.")
    if min(image.size) < MIN_SIDE:
        raise BrokenImage(
            f"The picture is {image.width}x{image.height}; each side must have {MIN_SIDE} pixels or more."
        )
    # Phones store JPEGs with an extra preview frame (MPO); the first frame is the picture.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise BrokenImage("The picture is animated; send a single frame.")
    cost = decoding_cost(image, passes)
    if (weigh := getattr(_here, "weigh", None)) is not None:
        weigh(cost)
    if cost > CHEAP and getattr(_here, "cheap_only", False):
        raise TooExpensiveHere
    if image.format == "PNG":  # Pillow decodes damaged pixels without an error, so check the checksums
        image.verify()
        return Image.open(BytesIO(data), formats=("PNG",))
    return image


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG":  # its EXIF may follow its pixels, whose damage must not be taken for that of the EXIF
        image.load()
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF does not make a picture unusable
        return 1
    return turn if turn in _UPRIGHT else 1


def _upright_size(image: Image.Image, turn: int) -> tuple[int, int]:
    return (image.height, image.width) if turn in _LYING else image.size


def _inside(box: Box | None, width: int, height: int) -> Box:
    if box is None:
        return Box(0, 0, width, height)
    if box.width <= 0 or box.height <= 0:
        raise InvalidBox(f"The box {box} is empty: x2 must be greater than x1, and y2 greater than y1.")
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise InvalidBox(f"The box {box} is not inside the upright picture, which is {width}x{height} pixels.")
    return box


def _crop(image: Image.Image, turn: int, box: Box, side: int) -> Image.Image:
    """Decode and return the boxed region, upright, in a mode that can be resized.

    Decodes a JPEG at 1/2, 1/4 or 1/8 of its size if both sides of the region keep at least ``side`` pixels.
    """
    before = image.size
    keep = side / min(box.width, box.height)
    image.draft(None, (int(image.width * keep) + 1, int(image.height * keep) + 1))
    scale_x, scale_y = image.width / before[0], image.height / before[1]
    if turn in _LYING:
        scale_x, scale_y = scale_y, scale_x
    if turn in _UPRIGHT:
        image = image.transpose(_UPRIGHT[turn])
    left, top = round(box.x1 * scale_x), round(box.y1 * scale_y)
    right, bottom = round(box.x2 * scale_x), round(box.y2 * scale_y)
    return _smooth(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))


def _smooth(image: Image.Image) -> Image.Image:
    """Convert modes that cannot be averaged (palettes, bits, 16 bits) to one that can."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255 instead of scaling
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _rgb(image: Image.Image) -> Image.Image:
    """Convert a small picture to sRGB on white. An unreadable colour profile is ignored."""
    profile = image.info.get("icc_profile") or b""  # None if pieces of it are missing
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image, is_rgb = image.convert("RGB"), image.mode in ("RGB", "RGBA")
    if is_rgb and 0 < len(profile) <= _MAX_PROFILE_BYTES and (transform := _to_srgb(profile)):
        image = ImageCms.applyTransform(image, transform) or image
    return image


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of an ICC profile; cached, because building it takes as long as decoding a picture."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _phash(image: Image.Image) -> int:
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")
