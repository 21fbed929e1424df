"""What the transparent parts of a picture are shown on: white, or black behind a drawing too pale for white."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

PALE = 40
"""Drawings that differ less than this from white are shown on black. It is the root mean square over all channels and
pixels, in 1/255, weighted by alpha: an even grey of 215, or a white drawing with 2.5% of black lines. Of the demo's 475
drawings with transparency the palest has 59."""


def backdrop(image: Image.Image) -> Literal["white", "black"]:
    """Choose the colour behind a small picture in RGBA.

    There are two colours and a step between them, because a gradual choice could not contrast with every drawing: on
    its way from white to black it would pass the drawing's own lightness.
    """
    pixels = np.asarray(image)
    alpha = pixels[..., 3].astype(np.float32)
    difference = (255 - pixels[..., :3]).astype(np.float32)
    squares = np.einsum("ijk,ijk,ij->", difference, difference, alpha) / 3
    return "black" if squares < PALE**2 * alpha.sum() else "white"


def is_opaque(image: Image.Image) -> bool:
    """Return whether a picture in RGBA is opaque everywhere."""
    return image.getchannel("A").getextrema()[0] == 255


def on(colour: str, image: Image.Image) -> Image.Image:
    """Draw a picture in RGBA on a colour; returns it in RGB."""
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")
