"""Duplicate folding by pHash alone and with a minimum cosine similarity, on real copies and on different pictures.

    python -m benchmarks.folding

writes results/folding.md. Copies are edits of every eighth demo picture. Different pairs are those of the demo corpus
with a small pHash distance that are clearly no duplicates (their cosine is under .6; the next pair is at .83).
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from benchmarks import table
from benchmarks.golden import DEMO, GoldenEncoder, encoded
from demo.build import on_white
from visualsearch.domain.search import NEAR_DUPLICATE_COSINE, NEAR_DUPLICATE_DISTANCE, SURE_DISTANCE
from visualsearch.imaging.preprocessing import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MODEL = Path(__file__).parents[1] / "model_repository" / "image_encoder" / "1" / "model.onnx"
STEP = 8
UNLIKE = 0.6


def smaller(picture: Image.Image, by: int) -> Image.Image:
    """Shrink a picture, but not below the smallest accepted size."""
    return picture.resize((max(16, picture.width // by), max(16, picture.height // by)))


def crop(picture: Image.Image, share: float = 0.9) -> Image.Image:
    """Crop the centre to a share of each side."""
    x, y = round(picture.width * (1 - share) / 2), round(picture.height * (1 - share) / 2)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def caption(picture: Image.Image, share: float = 0.15) -> Image.Image:
    """Write a caption on a black strip at the bottom."""
    picture, top = picture.copy(), round(picture.height * (1 - share))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, top, picture.width, picture.height), fill="black")
    draw.text((8, top + 3), "a caption", fill="white")
    return picture


EDITS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG quality 30": lambda picture: encoded(picture, 30),
    "JPEG quality 10": lambda picture: encoded(picture, 10),
    "half size": lambda picture: encoded(smaller(picture, 2)),
    "quarter size": lambda picture: encoded(smaller(picture, 4)),
    "crop to 90% of the area": lambda picture: encoded(crop(picture, 0.9**0.5)),
    "crop to 90% of each side": lambda picture: encoded(crop(picture)),
    "mirrored": lambda picture: encoded(ImageOps.mirror(picture)),
    "mirrored, half size, quality 30": lambda picture: encoded(smaller(ImageOps.mirror(picture), 2), 30),
    "caption on 15%": lambda picture: encoded(caption(picture)),
    "grey": lambda picture: encoded(ImageOps.grayscale(picture)),
    "contrast x1.5": lambda picture: encoded(ImageEnhance.Contrast(picture).enhance(1.5)),
    "brightness x1.3": lambda picture: encoded(ImageEnhance.Brightness(picture).enhance(1.3)),
}


def opened(file: Path) -> Image.Image:
    """Open a picture of the demo corpus."""
    return on_white(Image.open(BytesIO(file.read_bytes())).convert("RGBA"))


def hashes(files: list[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the pHashes of pictures and of their mirror images, uint64 [n] each."""
    made = [prepare(data) for data in files]
    return np.array([one.phash for one in made], np.uint64), np.array([one.phash_mirrored for one in made], np.uint64)


def row(name: str, bits: NDArray[np.uint8], cosine: NDArray[np.float32]) -> list[object]:
    """Count the pairs that fold by pHash alone, and with the minimum cosine for uncertain pHash distances."""
    near = bits <= NEAR_DUPLICATE_DISTANCE
    kept = near & ((bits <= SURE_DISTANCE) | (cosine >= NEAR_DUPLICATE_COSINE))
    unsure = near & (bits > SURE_DISTANCE)
    least = f"{cosine[unsure].min():.2f}" if unsure.any() else "none"
    return [name, len(bits), int(near.sum()), int(kept.sum()), least]


def main() -> None:
    """Measure and write the table."""
    encoder = GoldenEncoder(MODEL)
    files = sorted((DEMO / "pictures").rglob("*.*"))
    data = [file.read_bytes() for file in files]
    corpus, (phash, mirrored) = encoder(data), hashes(data)
    rows = []
    for name, edit in EDITS.items():
        edits = [edit(opened(file)) for file in files[::STEP]]
        given, given_mirrored = hashes(edits)
        bits = np.minimum(np.bitwise_count(given ^ phash[::STEP]), np.bitwise_count(given_mirrored ^ phash[::STEP]))
        rows.append(row(name, bits, (encoder(edits) * corpus[::STEP]).sum(1)))
    bits = np.minimum(np.bitwise_count(phash[:, None] ^ phash), np.bitwise_count(mirrored[:, None] ^ phash))
    one, other = np.triu_indices(len(files), 1)
    cosine = (corpus @ corpus.T)[one, other]
    for name, which in (("unlike", cosine < UNLIKE), ("alike", cosine >= UNLIKE)):
        rows.append(row(f"pairs of the corpus, {name}", bits[one, other][which], cosine[which]))
    rule = f"{NEAR_DUPLICATE_DISTANCE} bits, and a cosine of {NEAR_DUPLICATE_COSINE} over {SURE_DISTANCE} bits"
    heading = ["pairs of a picture and", "pairs", f"within {NEAR_DUPLICATE_DISTANCE} bits", rule, "least cosine there"]
    note = "Each edit with its original; of pairs of the corpus it is better that unlike ones do not fold."
    table.write("folding", "What folds", "python -m benchmarks.folding", heading, rows, note)


if __name__ == "__main__":
    main()
