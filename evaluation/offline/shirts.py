"""Product pictures: one shirt in several colours, as a shop photographs it, and flat colours."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

COLOURS = {
    "red": (196, 30, 45),
    "blue": (35, 70, 180),
    "green": (30, 130, 70),
    "black": (28, 28, 30),
    "white": (244, 244, 246),
}
OUTLINE = [(70, 50), (120, 30), (200, 30), (250, 50), (305, 120), (262, 150), (240, 118), (240, 300), (80, 300)]
OUTLINE += [(80, 118), (58, 150), (15, 120)]


def shirt(colour: str, background: tuple[int, int, int] = (232, 232, 230)) -> Image.Image:
    """Draw a shirt of 320x320 pixels with folds and a soft shadow; only the cloth depends on the colour."""
    mask = Image.new("L", (320, 320))
    ImageDraw.Draw(mask).polygon(OUTLINE, 255)
    mask = mask.filter(ImageFilter.GaussianBlur(1.5))
    y, x = np.mgrid[:320, :320]
    folds = 1 + 0.10 * np.sin(x / 11 + y / 37) * np.cos(y / 23) - 0.08 * (abs(x - 160) / 160)
    cloth = np.clip(np.array(COLOURS[colour])[None, None] * folds[..., None], 0, 255)
    shadow = np.asarray(mask.filter(ImageFilter.GaussianBlur(12)), float)[..., None] / 255
    paper = np.array(background)[None, None] * (1 - 0.25 * shadow)
    share = np.asarray(mask, float)[..., None] / 255
    return Image.fromarray((share * cloth + (1 - share) * paper).round().astype(np.uint8))


def flat(colour: tuple[int, int, int]) -> Image.Image:
    """Return a picture of one colour, 320x240 pixels."""
    return Image.new("RGB", (320, 240), colour)
