"""Embed real pictures and views of them into out/ann: `python -m benchmarks.ann.pictures [SECONDS]`.

Every picture of the public packages is embedded unchanged and as four views (a crop of at least a fifth of it, changed
colours, sometimes blur, grey or strong compression). One picture in twenty is held out with its views. Another one in
twenty gets a fifth view that is used only as a query. Finished chunks are written at once, so a run resumes where the
last one stopped. It stops after ``SECONDS``.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps
from rich.progress import track

from evaluation.datasets.fetch import DATA, SOURCES, fetch
from evaluation.offline.embeddings import onnx_embed, served
from evaluation.offline.sets import picture_files
from training import augment
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE, Box
from visualsearch.settings import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = ROOT / "model_repository" / "image_encoder" / "1" / "model.onnx"
KEPT = Path("out/ann")
CHUNK = 128
VIEWS = 4
BATCH = 32
HELD_OUT, ASKED = 7, 13
"""Positions in every twenty pictures: of the held-out picture, and of the one with an additional view."""


def view(pixels: NDArray[np.uint8], chance: np.random.Generator) -> NDArray[np.uint8]:
    """Return an edited view, uint8 [224, 224, 3], as if republished by somebody else."""
    box = augment.crop(Box(0, 0, IMAGE_SIDE, IMAGE_SIDE), chance)
    image = Image.fromarray(pixels).resize((IMAGE_SIDE, IMAGE_SIDE), box=(box.x1, box.y1, box.x2, box.y2))
    if chance.random() < 0.3:
        image = ImageOps.mirror(image)
    for likely, change in (
        (augment.OFTEN, augment.coloured),
        (augment.SELDOM, augment.grey),
        (augment.SELDOM, augment.blurred),
        (augment.SOMETIMES, augment.compressed),
    ):
        if chance.random() < likely:
            image = change(image, chance)
    return np.asarray(image)


def _versions(number: int, file: Path) -> list[NDArray[np.uint8]]:
    """Return a picture and its views; an empty list if it cannot be read."""
    try:
        pixels = served(file.read_bytes())
    except InvalidInput:
        return []
    chance = np.random.default_rng(number)
    return [pixels, *(view(pixels, chance) for _ in range(VIEWS + (number % 20 == ASKED)))]


def encode(limit_s: float) -> bool:
    """Embed the remaining pictures; return False if the time ran out before the end."""
    files = [file for name in sorted(SOURCES) for file in picture_files(fetch(SOURCES[name], DATA)).values()]
    random.Random(0).shuffle(files)  # so that the chunks of an interrupted run are a random sample
    embed, end = onnx_embed(MODEL), time.monotonic() + limit_s
    KEPT.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for begin in track(range(0, len(files), CHUNK), "Embedding"):
            kept = KEPT / f"chunk-{begin:06d}.npy"
            if kept.exists():
                continue
            if time.monotonic() > end:
                return False
            numbers = range(begin, min(begin + CHUNK, len(files)))
            made = list(pool.map(_versions, numbers, files[begin : begin + CHUNK]))
            pixels = np.stack([one for some in made for one in some])
            features = np.concatenate([embed(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH)])
            _keep(kept, features, [len(some) for some in made], begin)
    return True


def _keep(kept: Path, features: NDArray[np.float32], lengths: list[int], begin: int) -> None:
    """Write features as float32 [pictures, views + 2, 256]; missing views are NaN."""
    table = np.full((len(lengths), VIEWS + 2, EMBEDDING_DIM), np.nan, np.float32)
    for row, end in enumerate(np.cumsum(lengths)):
        table[row, : lengths[row]] = features[end - lengths[row] : end]
    writing = kept.with_suffix(".writing.npy")
    np.save(writing, table)
    writing.rename(kept)


def load() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the collection, queries of held-out pictures, and queries that are views of the collection's pictures."""
    chunks = sorted(KEPT.glob("chunk-*.npy"))
    table = np.concatenate([np.load(chunk) for chunk in chunks])
    place = np.arange(len(table)) % 20
    readable = ~np.isnan(table[:, 0, 0])
    corpus = table[readable & (place != HELD_OUT), : VIEWS + 1].reshape(-1, EMBEDDING_DIM)
    held_out = table[readable & (place == HELD_OUT), 0]
    return corpus, held_out, table[readable & (place == ASKED), VIEWS + 1]


if __name__ == "__main__":
    sys.exit(0 if encode(float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")) else 3)
