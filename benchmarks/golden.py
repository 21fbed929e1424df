"""Measure how often edits find their originals, and pictures similar ones: the encoder alone, with exact search.

    python -m benchmarks.golden model_repository/image_encoder/1/model.onnx

Prints the figures as JSON, in the format of the model card.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from PIL import Image, ImageEnhance

from demo.build import on_white
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEMO = Path(__file__).parents[1] / "demo"
SAMPLE = 100
SEED = 7
BATCH = 32
NEIGHBOURS = 10
MIN_CLASS = 8
"""Minimum number of pictures in a folder of the package that is used for queries."""


def encoded(picture: Image.Image, quality: int = 95) -> bytes:
    """Encode a picture as JPEG."""
    out = BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def cropped(picture: Image.Image, chance: random.Random) -> bytes:
    """Crop 60% of the area at a random position."""
    share = 0.6**0.5
    width, height = round(picture.width * share), round(picture.height * share)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    return encoded(picture.crop((left, top, left + width, top + height)))


EDITS = {
    "cropped to 60%": cropped,
    "shrunk to 50%": lambda picture, _: encoded(picture.resize((picture.width // 2, picture.height // 2))),
    "JPEG quality 30": lambda picture, _: encoded(picture, 30),
    "brightness x1.3": lambda picture, _: encoded(ImageEnhance.Brightness(picture).enhance(1.3)),
}


class GoldenEncoder:
    """An ONNX file, run in process."""

    def __init__(self, model: Path) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def __call__(self, files: list[bytes]) -> NDArray[np.float32]:
        """Embed picture files: float32 [n, 256]."""
        parts = []
        for start in range(0, len(files), BATCH):
            pixels = np.stack([decode(data).pixels for data in files[start : start + BATCH]])
            parts.append(self.session.run(["embedding"], {"pixels": pixels})[0])
        return np.concatenate(parts)


def found_first(encoder: GoldenEncoder, rows: list[dict[str, str]], corpus: NDArray[np.float32]) -> dict[str, int]:
    """For each edit, count how many of 100 pictures without a near-duplicate in the corpus it finds first."""
    twins = {row["near_duplicate_of"] for row in rows} | {row["file"] for row in rows if row["near_duplicate_of"]}
    chance = random.Random(SEED)
    sample = chance.sample([i for i, row in enumerate(rows) if row["file"] not in twins], SAMPLE)
    counts = {}
    for name, edit in EDITS.items():
        queries = []
        for i in sample:
            with Image.open(DEMO / rows[i]["file"]) as picture:
                queries.append(edit(on_white(picture.convert("RGBA")), chance))
        counts[name] = int(((encoder(queries) @ corpus.T).argmax(1) == sample).sum())
    return counts


def same_folder(rows: list[dict[str, str]], corpus: NDArray[np.float32]) -> float:
    """Return the mean share of the 10 nearest that come from the picture's own folder of the package."""
    folders = np.array([str(Path(row["original"]).parent) for row in rows])
    asked = [
        i for i, folder in enumerate(folders) if (folders == folder).sum() >= MIN_CLASS and "unsorted" not in folder
    ]
    likeness = corpus @ corpus.T
    np.fill_diagonal(likeness, -1)
    nearest = np.argsort(-likeness[asked], axis=1)[:, :NEIGHBOURS]
    return float((folders[nearest] == folders[asked][:, None]).mean())


def measure(model: Path) -> dict[str, object]:
    """Return the figures of an ONNX file."""
    with (DEMO / "provenance.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["category"] != "query"]
    encoder = GoldenEncoder(model)
    corpus = encoder([(DEMO / row["file"]).read_bytes() for row in rows])
    return {
        "corpus": f"demo/pictures, {len(rows)} pictures, searched exactly",
        f"edits that find their original first, of {SAMPLE}": found_first(encoder, rows, corpus),
        f"same folder among the {NEIGHBOURS} nearest": round(same_folder(rows, corpus), 4),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1])), indent=2))
