"""What the rule of near-duplicates folds: copies, other colours, neighbours in a burst, and drawings of one hand.

    python -m benchmarks.folding

fetches public pictures into out/data and writes results/folding.md, with the rule of before beside the one of now. The
limits of the rule were chosen on pictures of openclipart that are not in the demo corpus and on Google's emoji, the
release's cosine on other pictures of the demo corpus (``export.publish``).
"""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks import table
from benchmarks.golden import DEMO, GoldenEncoder
from evaluation.datasets.fetch import DATA, SOURCES, fetch
from evaluation.offline.copies import COPIES, RECOLOURED, SMALLEST, encoded
from evaluation.offline.duplicate_calibration import ComparedPictures
from evaluation.offline.edits import on_white
from evaluation.offline.shirts import COLOURS, flat, shirt
from visualsearch.adapters.model_card import read_card
from visualsearch.domain.near_duplicates import (
    NEAR_DUPLICATE_COSINE,
    NEAR_DUPLICATE_DISTANCE,
    NearDuplicateRule,
    hash_distances,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Pairs = tuple[ComparedPictures, ComparedPictures]

MODEL = Path(__file__).parents[1] / "model_repository" / "image_encoder"
VERSION = 1
STEP = 8
SURE_DISTANCE = 4
"""Bits up to which pictures were folded whatever their embeddings were, before."""
COLOURFUL = 8.0
"""Chroma in grey levels from which a picture has colours that can be changed."""
MIRRORED = ("_mirror", "_flip")
"""Endings of the names of stamps that repeat another."""
TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
SAMPLE, FRAMES = 120, 4
LARGE = 640
LEVELS = (0, 85, 170, 255)


class Folding:
    """Counts what folds, with one encoder."""

    def __init__(self) -> None:
        self._encoder = GoldenEncoder(MODEL / str(VERSION) / "model.onnx")
        cosine = read_card(MODEL, VERSION).duplicate_cosine
        self.rule = NearDuplicateRule(cosine=NEAR_DUPLICATE_COSINE if cosine is None else cosine)

    def compared(self, files: Sequence[bytes]) -> ComparedPictures:
        """Hash and embed picture files."""
        run = self._encoder.session.run
        return ComparedPictures.of(files, lambda pixels: run(["embedding"], {"pixels": pixels})[0])

    def row(self, name: str, wanted: str, one: ComparedPictures, other: ComparedPictures) -> list[object]:
        """Return a row of the table: how many pairs fold by the rule of before and by that of now."""
        bits, cosines = one.distances(other), one.cosines(other)
        before = (bits <= SURE_DISTANCE) | ((bits <= NEAR_DUPLICATE_DISTANCE) & (cosines >= NEAR_DUPLICATE_COSINE))
        now = one.near(other, self.rule)
        both = f"{int((before & now).sum()) / max(1, int(before.sum())):.3f}"
        return [name, wanted, f"{len(bits):,}", int(before.sum()), int(now.sum()), both if wanted == "yes" else ""]

    def among(self, name: str, found: ComparedPictures) -> list[object]:
        """Return a row for all pairs of pictures of different things that are not the same pixels."""
        ones, others = near_pairs(found)
        different = np.einsum("ij,ij->i", found.embeddings[ones], found.embeddings[others]) < 0.99999
        row = self.row(name, "no", found.taken(ones[different]), found.taken(others[different]))
        row[2] = f"{len(found.layouts) * (len(found.layouts) - 1) // 2:,}"
        return row


def near_pairs(found: ComparedPictures) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of all pairs within the distance of near-duplicates."""
    bits = hash_distances(found.phashes, found.mirrored, slice(None))
    ones, others = np.nonzero(np.triu(bits <= NEAR_DUPLICATE_DISTANCE, 1))
    return ones, others


def opened(file: Path) -> Image.Image:
    """Open a picture on white, as large as a screen shows it."""
    picture = on_white(file)
    picture.thumbnail((LARGE, LARGE))
    return picture


def copies(folding: Folding, name: str, pictures: Sequence[Image.Image]) -> Iterator[list[object]]:
    """Compare edits of pictures with the pictures, and so the same in other colours."""
    originals = folding.compared([encoded(one) for one in pictures])
    edited = []
    for edit, make in COPIES.items():
        edited.append(folding.compared([make(one) for one in pictures]))
        yield folding.row(f"{name}: {edit}", "yes", edited[-1], originals)
    every = ComparedPictures.joined([originals] * len(edited))
    yield folding.row(f"{name}: all copies", "yes", ComparedPictures.joined(edited), every)
    colourful = np.flatnonzero(originals.strengths >= COLOURFUL)
    for edit, make in RECOLOURED.items():
        changed = folding.compared([make(pictures[place]) for place in colourful])
        yield folding.row(f"{name}: {edit}", "no", changed, originals.taken(colourful))


def burst(folding: Folding, pictures: Sequence[Image.Image]) -> Iterator[list[object]]:
    """Compare frames of a moving camera: shifted, turned and of other brightness, by more from frame to frame."""
    first = folding.compared([encoded(frame(one, 0)) for one in pictures])
    for number in range(1, FRAMES):
        later = folding.compared([encoded(frame(one, number), 90) for one in pictures])
        yield folding.row(f"photographs: frame {number} of a burst", "either", later, first)


def frame(picture: Image.Image, number: int) -> Image.Image:
    """Return a frame: each moves on by 1.5% of the width, turns by half a degree and gets 2% brighter."""
    turned = ImageEnhance.Brightness(picture).enhance(1 + 0.02 * number).rotate(0.5 * number, Image.Resampling.BICUBIC)
    x, y = round(picture.width * (0.05 + 0.015 * number)), round(picture.height * 0.05)
    return turned.crop((x, y, x + round(picture.width * 0.88), y + round(picture.height * 0.88)))


def drawn(folding: Folding) -> Iterator[list[object]]:
    """Compare shirts of five colours, mirrored ones too, and flat colours."""
    shirts = [folding.compared([encoded(shirt(one))]) for one in COLOURS]
    yield folding.row("a shirt in two of 5 colours", "no", *paired(shirts))
    flats = [
        folding.compared([encoded(flat((red, green, blue)))]) for red in LEVELS for green in LEVELS for blue in LEVELS
    ]
    yield folding.row("two of 64 flat colours", "no", *paired(flats))


def paired(found: Sequence[ComparedPictures]) -> Pairs:
    """Return the first and the second pictures of all pairs."""
    every = ComparedPictures.joined(found)
    ones, others = (np.array(places) for places in zip(*combinations(range(len(found)), 2), strict=True))
    return every.taken(ones), every.taken(others)


def emoji(vendor: str) -> list[bytes]:
    """Return the drawings of one hand, without those that differ in the tone of skin alone."""
    folder = fetch(SOURCES[f"emoji-datasource-{vendor}"], DATA) / "package" / "img" / vendor / "64"
    files = sorted(file for file in folder.glob("*.png") if not any(tone in file.stem for tone in TONES))
    return [encoded(on_white(file)) for file in files]


def sampled(files: list[Path]) -> list[Image.Image]:
    """Return some pictures, always the same."""
    found = map(opened, random.Random(0).sample(sorted(files), min(SAMPLE, len(files))))
    return [picture for picture in found if min(picture.size) >= SMALLEST]


def rows(folding: Folding) -> Iterator[list[object]]:
    """Measure everything."""
    files = sorted((DEMO / "pictures").rglob("*.*"))
    yield from copies(folding, "demo corpus", [opened(file) for file in files[::STEP]])
    stamps = fetch(SOURCES["tuxpaint-stamps-default"], DATA).rglob("*.png")
    yield from copies(folding, "stamps", sampled([one for one in stamps if not one.stem.endswith(MIRRORED)]))
    photographs = fetch(SOURCES["opencv-doc"], DATA) / "usr/share/doc/opencv-doc/examples/data"
    yield from burst(folding, sampled(list(photographs.glob("*.jpg"))))
    yield from drawn(folding)
    yield folding.among("demo corpus: two pictures", folding.compared([file.read_bytes() for file in files]))
    yield folding.among("Twitter's emoji: two drawings", folding.compared(emoji("twitter")))


def main() -> None:
    """Measure and write the table."""
    folding = Folding()
    heading = ["pairs of", "should fold", "pairs", "folded before", "fold now", "of those before"]
    note = (
        f"Before: {SURE_DISTANCE} bits of pHash, or {NEAR_DUPLICATE_DISTANCE} with a cosine of "
        f"{NEAR_DUPLICATE_COSINE}, in one order. Now: {NEAR_DUPLICATE_DISTANCE} bits in either order, a cosine of "
        f"{folding.rule.cosine} (the shipped encoder's), and colours that agree (docs/duplicates.md)."
    )
    table.write("folding", "What folds", "python -m benchmarks.folding", heading, list(rows(folding)), note)


if __name__ == "__main__":
    main()
