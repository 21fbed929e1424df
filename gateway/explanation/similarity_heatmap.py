"""Computes and draws which regions of two pictures are similar. Numpy and Pillow only.

An embedding pools the cells of the last feature map, so that the similarity of two pictures is a sum over pairs of
cells, one of each: Stylianou, Souvenir & Pless, "Visualizing Deep Similarity Networks", WACV 2019. They score a cell by
its product with the mean of the other picture's cells. Here the mean of all cells of both pictures is subtracted first,
and a cell is scored by its product with the best matching cell of the other picture. On objects pasted into two
backgrounds this localizes better (benchmarks/results/explain.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from visualsearch.domain.images import Box
from visualsearch.imaging.preprocessing import thumbnail

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 384
"""Longer side of each drawn picture, in pixels."""
GAP = 12
WARM, HOT = np.array([255, 190, 0], np.float32), np.array([225, 0, 0], np.float32)
"""Colours of low and high heat, RGB."""
COVER = 0.7
"""Opacity of the strongest heat. Regions without heat stay grey."""


@dataclass(frozen=True, slots=True)
class SimilarityHeatmap:
    """Similarity of each cell to the other picture: float32 [rows, columns] in 0 .. 1, over a box of the picture."""

    cells: NDArray[np.float32]
    box: Box


def agreement(maps: NDArray[np.float32], blank: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute the heat of two pictures from their feature maps: each float32 [rows, columns] in 0 .. 1.

    ``maps`` is float32 [2, channels, rows, columns]; ``blank`` is that of a white picture, [channels, rows, columns].
    The hottest cell of the two pictures has heat 1. In each picture, cells at or below the median have heat 0. All heat
    is 0 if no cell is more similar than the others.
    """
    _, channels, rows, columns = maps.shape
    cells = maps.reshape(2, channels, rows * columns).transpose(0, 2, 1)
    one, other = cells - cells.mean((0, 1))
    # Empty margins are similar to each other, which explains nothing. Weight a cell by its distance to a white one.
    fullness = np.linalg.norm(cells - blank.reshape(channels, -1).T, axis=2)
    fullness /= np.maximum(fullness.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    products = (one @ other.T) * fullness[0][:, None] * fullness[1]
    best = np.stack([products.max(1), products.max(0)])
    heat = np.maximum(best - np.median(best, axis=1, keepdims=True), 0)
    scaled = (heat / max(float(heat.max()), np.finfo(np.float32).tiny)).astype(np.float32)
    first, second = scaled.reshape(2, rows, columns)
    return first, second


def drawn(
    pictures: tuple[bytes, bytes],
    heats: tuple[SimilarityHeatmap, SimilarityHeatmap],
    sizes: tuple[tuple[int, int], ...],
) -> bytes:
    """Draw two pictures side by side in grey, with similar regions in yellow to red; returns a PNG file.

    ``sizes`` are (width, height) of the whole upright pictures in pixels, the unit of the boxes of ``heats``.
    """
    sides = [_drawn(*one) for one in zip(pictures, heats, sizes, strict=True)]
    canvas = Image.new("RGB", (sum(one.width for one in sides) + GAP, max(one.height for one in sides)), "white")
    left = 0
    for one in sides:
        canvas.paste(one, (left, (canvas.height - one.height) // 2))
        left += one.width + GAP
    out = BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def _drawn(picture: bytes, heat: SimilarityHeatmap, size: tuple[int, int]) -> Image.Image:
    image = Image.open(BytesIO(thumbnail(picture, SIDE)))
    x, y = image.width / size[0], image.height / size[1]
    left, top = round(heat.box.x1 * x), round(heat.box.y1 * y)
    inside = max(1, round(heat.box.x2 * x) - left), max(1, round(heat.box.y2 * y) - top)
    smooth = Image.fromarray(heat.cells).resize(inside, Image.Resampling.BICUBIC)
    warm = np.zeros((image.height, image.width, 1), np.float32)
    # Rounding may put the box beyond the last pixel, so clip the heat to the picture.
    part = warm[top : top + inside[1], left : left + inside[0], 0]
    part[...] = np.clip(np.asarray(smooth), 0, 1)[: part.shape[0], : part.shape[1]]
    grey = np.asarray(image.convert("L"), np.float32)[..., None]
    mixed = grey * (1 - COVER * warm) + (WARM * (1 - warm) + HOT * warm) * COVER * warm
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
