"""How well the suggested lowest score tells unrelated pictures from right answers, on the demo corpus.

    python -m benchmarks.min_score

writes results/min_score.md. Pictures are unrelated here if they are of different categories and no near-duplicates;
the estimate knows no categories. Right answers are the originals of edited pictures, and pictures of the query's class
among its ten nearest.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks import table
from benchmarks.folding import MODEL, STEP, VERSION, opened
from benchmarks.golden import DEMO, GoldenEncoder
from evaluation.offline.copies import COPIES, encoded
from visualsearch.domain.near_duplicates import NEAR_DUPLICATE_DISTANCE
from visualsearch.domain.score_calibration import RATE, estimate
from visualsearch.domain.search import VectorRow
from visualsearch.imaging.preprocessing import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 20
TOP = 10
NOTHING_LIKE_IT = 100
"""Pictures of noise, gradients and stripes, which the corpus has nothing like."""


def odd_pictures() -> list[bytes]:
    """Draw pictures of noise and of soft patches of colour."""
    made = []
    for seed in range(NOTHING_LIKE_IT):
        chance = np.random.default_rng(seed)
        size = (2, 3, 6, 12, 224)[seed % 5]
        pixels = chance.integers(0, 256, (size, size, 3), dtype=np.uint8)
        made.append(encoded(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC)))
    return made


def rows_of(files: list[bytes], embeddings: NDArray[np.float32]) -> list[VectorRow]:
    """Return pictures as a collection holds them."""
    made = [prepare(data) for data in files]
    return [
        VectorRow(number, embedding, one.phash, one.phash_mirrored)
        for number, (one, embedding) in enumerate(zip(made, embeddings, strict=True))
    ]


def blocks(rows: list[VectorRow], order: NDArray[np.intp]) -> list[list[VectorRow]]:
    """Return blocks of neighbours in an order."""
    return [[rows[place] for place in order[begin : begin + BLOCK]] for begin in range(0, len(order), BLOCK)]


def near(rows: list[VectorRow]) -> NDArray[np.bool_]:
    """Return which pairs are near-duplicates: bool [n, n]."""
    hashes, mirrored = (
        np.array([getattr(row, name) for row in rows], np.uint64) for name in ("phash", "phash_mirrored")
    )
    bits = np.minimum(np.bitwise_count(hashes[:, None] ^ hashes), np.bitwise_count(mirrored[:, None] ^ hashes))
    return bits <= NEAR_DUPLICATE_DISTANCE


def share(passing: NDArray[np.bool_]) -> str:
    """Return a mean in percent."""
    return f"{100 * passing.mean():.2f}%"


def folders(files: list[Path]) -> NDArray[np.str_]:
    """Return the folder of the package that each picture comes from: a finer class than its category."""
    with (DEMO / "provenance.csv").open(newline="") as stream:
        known = {row["file"]: str(Path(row["original"]).parent) for row in csv.DictReader(stream)}
    return np.array([known[file.relative_to(DEMO).as_posix()] for file in files])


def main() -> None:
    """Measure and write the table."""
    encoder = GoldenEncoder(MODEL / str(VERSION) / "model.onnx")
    files = sorted((DEMO / "pictures").rglob("*.*"))
    data = [file.read_bytes() for file in files]
    corpus = encoder(data)
    rows, scores = rows_of(data, corpus), corpus @ corpus.T
    np.fill_diagonal(scores, -1)
    categories = np.array([file.relative_to(DEMO / "pictures").parts[0] for file in files])
    same = categories[:, None] == categories
    unrelated = ~same & ~near(rows)
    nearest = np.argsort(-scores, axis=1)[:, :TOP]
    top = np.take_along_axis(scores, nearest, axis=1)
    origin = folders(files)
    alike = np.take_along_axis(same, nearest, axis=1), origin[nearest] == origin[:, None]
    edited = np.stack([encoder([edit(opened(file)) for file in files[::STEP]]) for edit in COPIES.values()])
    edits = (edited * corpus[::STEP]).sum(axis=2)
    odd = (encoder(odd_pictures()) @ corpus.T).max(axis=1)
    asked = encoder([file.read_bytes() for file in sorted((DEMO / "queries").iterdir())]) @ corpus.T
    columns = []
    for order in (np.arange(len(files)), np.random.default_rng(0).permutation(len(files))):
        found, half = estimate(blocks(rows, order)), estimate(blocks(rows, order[: len(order) // 2]))
        assert found is not None
        assert half is not None
        rest = np.ix_(order[len(order) // 2 :], order[len(order) // 2 :])
        columns.append(
            [
                f"{found.score:.3f} ± {found.error:.3f}",
                f"{1000 * (scores[unrelated] >= found.score).mean():.2f}",
                f"{half.score:.3f} ± {half.error:.3f}",
                f"{1000 * (scores[rest][unrelated[rest]] >= half.score).mean():.2f}",
                share(edits < found.score),
                *(share(top[which] < found.score) for which in alike),
                share(odd < found.score),
                ", ".join(map(str, (asked >= found.score).sum(axis=1))),
            ]
        )
    names = (
        "suggestion",
        "of 1,000 pairs of different categories, pass",
        "suggestion from half of the pictures",
        "of 1,000 such pairs of the other half, pass",
        f"originals of edited pictures ({len(COPIES)} edits) below it",
        "pictures of the query's category among its ten nearest, below it",
        "pictures of the query's folder in the package among its ten nearest, below it",
        f"odd queries ({NOTHING_LIKE_IT}: noise, gradients, patches) without a good match",
        "good matches of the queries in demo/queries",
    )
    note = (
        f"The suggestion is the score that {RATE:.1%} of the pairs reach, without near-duplicates and pairs of one "
        f"block of {BLOCK}. Categories and folders are loose: many pictures of one have little in common but the word. "
        "On the page, what is below the suggestion is set apart, not left out."
    )
    heading = ["", "blocks by folder, as indexed", "blocks of mixed pictures"]
    lines = [[name, *values] for name, *values in zip(names, *columns, strict=True)]
    table.write("min_score", "The suggested lowest score", "python -m benchmarks.min_score", heading, lines, note)


if __name__ == "__main__":
    main()
