"""Generated pictures for tests."""

from io import BytesIO

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture like no other: large soft patches of colour."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """The file of a picture."""
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed: int, width: int = 320, height: int = 240) -> bytes:
    return encoded(noise(seed, width, height), quality=90)
