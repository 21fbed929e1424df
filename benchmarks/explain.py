"""Accuracy of similarity heatmaps on an object pasted into two pictures at different positions.

    python -m benchmarks.explain

writes results/explain.md. It compares our similarity heatmap with the decomposition of Stylianou, Souvenir & Pless
(WACV 2019), with and without subtracting a picture's median, and with a uniform heatmap.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from PIL import Image

from benchmarks import table
from gateway.explanation.similarity_heatmap import agreement
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "model_repository" / "image_encoder" / "1" / "model.onnx"
PAIRS = 100
SIDES = (80, 96, 112)


def pasted(random: np.random.Generator, files: list[Path]) -> tuple[NDArray[np.uint8], list[tuple[int, int, int]]]:
    """Paste one object into two pictures; return pixels uint8 [2, 224, 224, 3], and (left, top, side) of each."""
    chosen = random.choice(len(files), 3, replace=False)
    thing, *grounds = (Image.fromarray(decode(files[place].read_bytes()).pixels) for place in chosen)
    side = int(random.choice(SIDES))
    places = [(int(left), int(top), side) for left, top in random.integers(0, IMAGE_SIDE - side, (2, 2))]
    for ground, (left, top, _) in zip(grounds, places, strict=True):
        ground.paste(thing.resize((side, side)), (left, top))
    return np.stack([np.array(ground) for ground in grounds]), places


def decomposed(maps: NDArray[np.float32], _blank: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each cell's contribution to the similarity of the two means."""
    means = maps.mean((2, 3))
    return np.maximum(np.stack([np.einsum("chw,c->hw", maps[i], means[1 - i]) for i in (0, 1)]), 0)


def above_median(maps: NDArray[np.float32], blank: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the contributions minus each picture's median."""
    heat = decomposed(maps, blank)
    return np.maximum(heat - np.median(heat, axis=(1, 2), keepdims=True), 0)


def ours(maps: NDArray[np.float32], blank: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the heatmaps of the gateway."""
    return np.stack(agreement(maps, blank))


def even(maps: NDArray[np.float32], _blank: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return uniform heatmaps."""
    return np.ones((2, *maps.shape[2:]), np.float32)


def main() -> None:
    """Measure and write the table."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    white = np.full((1, IMAGE_SIDE, IMAGE_SIDE, 3), 255, np.uint8)
    blank = session.run(["feature_map"], {"pixels": white})[0][0]
    random, files = np.random.default_rng(0), sorted((ROOT / "demo" / "pictures").rglob("*.*"))
    methods = (ours, decomposed, above_median, even)
    share: dict[str, list[float]] = {method.__name__: [] for method in methods}
    points: dict[str, list[bool]] = {method.__name__: [] for method in methods}
    for _ in range(PAIRS):
        pixels, places = pasted(random, files)
        maps = session.run(["feature_map"], {"pixels": pixels})[0]
        for method in methods:
            for heat, (left, top, side) in zip(method(maps, blank), places, strict=True):
                cell = IMAGE_SIDE // len(heat)
                fine = np.repeat(np.repeat(heat, cell, 0), cell, 1)
                share[method.__name__].append(float(fine[top : top + side, left : left + side].sum() / fine.sum()))
                row, column = (int(one) * cell + cell // 2 for one in np.unravel_index(heat.argmax(), heat.shape))
                points[method.__name__].append(top <= row < top + side and left <= column < left + side)
    names = {
        "ours": "as the gateway explains",
        "decomposed": "each cell's share of the similarity (2019)",
        "above_median": "the same, less the median",
        "even": "even",
    }
    rows = [[words, f"{np.mean(share[name]):.2f}", f"{np.mean(points[name]):.2f}"] for name, words in names.items()]
    heading = ["heat", "part of it on the thing", "hottest cell's middle on the thing"]
    note = f"{PAIRS} pairs of demo pictures, each with a third pasted in at two places, 80 to 112 of 224 pixels wide."
    table.write("explain", "Where the heat of an explanation lies", "python -m benchmarks.explain", heading, rows, note)


if __name__ == "__main__":
    main()
