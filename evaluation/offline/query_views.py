"""Alternatives to the preprocessing in serving: several views of a query, and other ways to fit it into the square.

They exist to measure their gain and cost (benchmarks/views.py). The servers do not use them.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from evaluation.offline.embeddings import served
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.imaging.preprocessing import dimensions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from evaluation.offline.embeddings import Embed

    View = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

CENTRE = 0.8
"""Share of each side in the centre crop."""


def mirrored(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror uint8 [n, 224, 224, 3] horizontally."""
    return np.ascontiguousarray(pixels[:, :, ::-1])


def centred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge the centre of uint8 [n, 224, 224, 3]."""
    edge = round(IMAGE_SIDE * (1 - CENTRE) / 2)
    box, size = (edge, edge, IMAGE_SIDE - edge, IMAGE_SIDE - edge), (IMAGE_SIDE, IMAGE_SIDE)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC, box=box)) for one in pixels]
    )


def averaged(embed: Embed, views: Sequence[View]) -> Embed:
    """Return an embedding that sums those of a picture and its views, and normalises the sum."""

    def embed_views(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        total = embed(pixels) + sum(embed(view(pixels)) for view in views)
        unit: NDArray[np.float32] = total / np.linalg.norm(total, axis=1, keepdims=True)
        return unit

    return embed_views


def letterboxed(data: bytes) -> NDArray[np.uint8]:
    """Preprocess a file with its aspect ratio kept: pad it with white to a square."""
    picture = _on_white(data)
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return served(_png(square))


def cropped(data: bytes) -> NDArray[np.uint8]:
    """Preprocess a file with its aspect ratio kept: crop the longer side to a square."""
    picture = _on_white(data)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return served(_png(picture.crop((left, top, left + side, top + side))))


def _on_white(data: bytes) -> Image.Image:
    dimensions(data)  # raises for invalid and too large pictures
    with Image.open(BytesIO(data)) as opened:
        picture = opened.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _png(picture: Image.Image) -> bytes:
    out = BytesIO()
    picture.save(out, "PNG", compress_level=0)
    return out.getvalue()
