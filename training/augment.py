"""Strong augmentations, for two views of one picture that the encoder must embed alike.

``imaging.preprocessing.decode`` makes the crop, as it does for a box that a user drags. All other augmentations change
its pixels. Strengths are half of those of SimCLR (Chen et al., 2020, arXiv 2002.05709), with even less hue and grey,
because people search by colour too.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from visualsearch.domain.images import IMAGE_SIDE, Box
from visualsearch.imaging.preprocessing import decode, dimensions

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

LEAST_AREA = 0.2
"""Smallest crop, as a share of the picture."""
RATIO = 4 / 3
"""Largest factor between a crop's aspect ratio and that of the picture."""
JITTER, HUE = 0.4, 0.08
OFTEN, SOMETIMES, SELDOM = 0.8, 0.3, 0.12
WORDS = ("SALE", "sample", "12.99", "new!", "photo", "hello", "www", "2024", "Ünïcode", "-50%")


def view(data: bytes, chance: Generator, box: Box | None = None) -> NDArray[np.uint8]:
    """Return a strongly augmented view of a picture file, or of a box in it: uint8 [224, 224, 3].

    Raises what ``decode`` raises.
    """
    width, height = dimensions(data)
    inside = box or Box(0, 0, width, height)
    image = Image.fromarray(decode(data, crop(inside, chance)).pixels)
    if chance.random() < 0.5:
        image = ImageOps.mirror(image)
    for likely, change in (
        (SELDOM, smaller),
        (SELDOM, turned),
        (OFTEN, coloured),
        (SELDOM, grey),
        (SOMETIMES, blurred),
        (SELDOM, labelled),
        (SOMETIMES, compressed),
    ):
        if chance.random() < likely:
            image = change(image, chance)
    return np.array(image)


def crop(inside: Box, chance: Generator) -> Box:
    """Draw a box inside another, at any position, with at least a fifth of its area."""
    width, height = inside.width, inside.height
    area = chance.uniform(LEAST_AREA, 1)
    ratio = math.exp(chance.uniform(-math.log(RATIO), math.log(RATIO)))
    w = min(width, max(1, round(width * math.sqrt(area * ratio))))
    h = min(height, max(1, round(height * math.sqrt(area / ratio))))
    left = inside.x1 + int(chance.integers(0, width - w + 1))
    top = inside.y1 + int(chance.integers(0, height - h + 1))
    return Box(left, top, left + w, top + h)


def smaller(image: Image.Image, chance: Generator) -> Image.Image:
    """Shrink the picture and place it anywhere on a plain background."""
    side = int(IMAGE_SIDE * chance.uniform(0.5, 0.9))
    ground = Image.new("RGB", image.size, tuple(int(value) for value in chance.integers(160, 256, 3)))
    corner = tuple(int(value) for value in chance.integers(0, IMAGE_SIDE - side + 1, 2))
    ground.paste(image.resize((side, side), Image.Resampling.BILINEAR), (corner[0], corner[1]))
    return ground


def turned(image: Image.Image, chance: Generator) -> Image.Image:
    """Rotate by up to 15 degrees and fill the corners with white."""
    return image.rotate(chance.uniform(-15, 15), Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))


def coloured(image: Image.Image, chance: Generator) -> Image.Image:
    """Change brightness, contrast, saturation and, to a lesser degree, hue."""
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = kind(image).enhance(chance.uniform(1 - JITTER, 1 + JITTER))
    if chance.random() < SOMETIMES:
        hue, saturation, value = image.convert("HSV").split()
        turn = int(255 * chance.uniform(-HUE, HUE))
        hue = hue.point([(level + turn) % 256 for level in range(256)])
        image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return image


def grey(image: Image.Image, _: Generator) -> Image.Image:
    """Convert to grey."""
    return ImageOps.grayscale(image).convert("RGB")


def blurred(image: Image.Image, chance: Generator) -> Image.Image:
    """Blur or, equally often, shrink the picture strongly and enlarge it again."""
    if chance.random() < 0.5:
        return image.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 2.5)))
    side = int(chance.integers(40, 160))
    return image.resize((side, side), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BILINEAR)


def labelled(image: Image.Image, chance: Generator) -> Image.Image:
    """Write a word across the picture, half of the time on a bar."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(int(chance.integers(14, 48)))
    at = (int(chance.integers(0, IMAGE_SIDE // 2)), int(chance.integers(0, IMAGE_SIDE - 20)))
    ink, ground = (tuple(int(value) for value in chance.integers(0, 256, 3)) for _ in range(2))
    word = str(chance.choice(WORDS))
    if chance.random() < 0.5:
        draw.rectangle(draw.textbbox(at, word, font), fill=ground)
    draw.text(at, word, ink, font)
    return image


def compressed(image: Image.Image, chance: Generator) -> Image.Image:
    """Compress as JPEG with low quality."""
    file = BytesIO()
    image.save(file, "JPEG", quality=int(chance.integers(20, 80)))
    with Image.open(file) as read:
        return read.convert("RGB")
