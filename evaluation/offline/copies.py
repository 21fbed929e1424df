"""Copies of a picture as people make them, and the same thing in other colours, which is no copy."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from visualsearch.domain.images import MIN_SIDE

Edit = Callable[[Image.Image], bytes]

SMALLEST = 2 * MIN_SIDE
"""Shorter side in pixels of pictures whose copies are all large enough to be accepted."""
SATURATED = 64
"""Saturation (of 255) from which a pixel is cloth or paint to be dyed, rather than paper or ink."""


def encoded(picture: Image.Image, quality: int = 95) -> bytes:
    """Encode a picture as JPEG."""
    out = BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def smaller(picture: Image.Image, by: int) -> Image.Image:
    """Shrink a picture, but not below the smallest accepted size."""
    return picture.resize((max(16, picture.width // by), max(16, picture.height // by)))


def crop(picture: Image.Image, share: float = 0.9) -> Image.Image:
    """Crop the centre to a share of each side."""
    x, y = round(picture.width * (1 - share) / 2), round(picture.height * (1 - share) / 2)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def caption(picture: Image.Image, share: float = 0.15) -> Image.Image:
    """Write a caption on a black strip at the bottom."""
    picture, top = picture.copy(), round(picture.height * (1 - share))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, top, picture.width, picture.height), fill="black")
    draw.text((8, top + 3), "a caption", fill="white")
    return picture


def hue_turned(picture: Image.Image, degrees: float) -> Image.Image:
    """Turn all hues by an angle: red becomes green after 120 degrees."""
    hue, saturation, value = picture.convert("HSV").split()
    turned = hue.point(lambda one: (one + round(degrees / 360 * 256)) % 256)
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def dyed_black(picture: Image.Image) -> Image.Image:
    """Blacken what is coloured, and leave the rest."""
    saturation = np.asarray(picture.convert("HSV"))[..., 1:2]
    black = np.asarray(picture.convert("L"))[..., None] * 0.25
    return Image.fromarray(np.where(saturation >= SATURATED, black, np.asarray(picture)).astype(np.uint8))


COPIES: dict[str, Edit] = {
    "JPEG quality 30": lambda picture: encoded(picture, 30),
    "JPEG quality 10": lambda picture: encoded(picture, 10),
    "half size": lambda picture: encoded(smaller(picture, 2)),
    "quarter size": lambda picture: encoded(smaller(picture, 4)),
    "crop to 90% of the area": lambda picture: encoded(crop(picture, 0.9**0.5)),
    "crop to 90% of each side": lambda picture: encoded(crop(picture)),
    "mirrored": lambda picture: encoded(ImageOps.mirror(picture)),
    "mirrored, half size, quality 30": lambda picture: encoded(smaller(ImageOps.mirror(picture), 2), 30),
    "caption on 15%": lambda picture: encoded(caption(picture)),
    "grey": lambda picture: encoded(ImageOps.grayscale(picture)),
    "contrast x1.5": lambda picture: encoded(ImageEnhance.Contrast(picture).enhance(1.5)),
    "brightness x1.3": lambda picture: encoded(ImageEnhance.Brightness(picture).enhance(1.3)),
}
RECOLOURED: dict[str, Edit] = {
    "hues turned by 60 degrees": lambda picture: encoded(hue_turned(picture, 60)),
    "hues turned by 120 degrees": lambda picture: encoded(hue_turned(picture, 120)),
    "hues turned by 180 degrees": lambda picture: encoded(hue_turned(picture, 180)),
    "hues turned by 120 degrees, half size": lambda picture: encoded(smaller(hue_turned(picture, 120), 2)),
    "dyed black": lambda picture: encoded(dyed_black(picture)),
}
