"""An odd picture file, and how it is compared with what a browser shows."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.pictures import noise

SIZE = (96, 64)


@dataclass(frozen=True)
class OddPicture:
    """A file. ``tolerance`` is the mean difference from the browser's picture that a channel may have, in 1/255."""

    data: bytes
    tolerance: float = 1.0
    backdrop: str = "white"
    """What its transparent parts are shown on."""


def scene() -> Image.Image:
    """A picture that no turn or flip leaves as it is, in every hue."""
    return noise(4, *SIZE)


def cutout() -> Image.Image:
    """The scene in RGBA; its alpha falls from opaque at the top left to nothing at the bottom right."""
    across, down = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]))
    picture = scene().convert("RGBA")
    picture.putalpha(Image.fromarray((255 * (1 - across * down)).astype(np.uint8)))
    return picture
