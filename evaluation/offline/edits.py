"""Typical edits of a picture: cropped, rotated, mirrored, captioned, recoloured and recompressed."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from evaluation.offline.sets import EvaluationSet
from visualsearch.domain.errors import InvalidInput
from visualsearch.imaging.preprocessing import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Edit = Callable[[Image.Image, random.Random], Image.Image]

SAMPLE = 200
"""Number of pictures to edit. Each edit has all of them as queries."""
ALIKE_BITS = 10
"""Pictures with a smaller pHash distance are near-duplicates, and either could be the original."""
_QUALITY = 90
_PLACES, _INK = 20, 20.0
"""Number of attempts to place a crop, and the minimum standard deviation of its grey values."""


def _crop(share: float) -> Edit:
    """Crop a share of the area at a random position. Avoid blank regions, because such a crop cannot be found."""

    def edit(picture: Image.Image, chance: random.Random) -> Image.Image:
        width, height = (max(16, round(length * share**0.5)) for length in picture.size)
        for _ in range(_PLACES):
            left = chance.randint(0, max(0, picture.width - width))
            top = chance.randint(0, max(0, picture.height - height))
            crop = picture.crop((left, top, min(left + width, picture.width), min(top + height, picture.height)))
            if np.asarray(crop.convert("L")).std() >= _INK:
                break
        return crop

    return edit


def _turn(degrees: float) -> Edit:
    return lambda picture, chance: picture.rotate(
        chance.choice((-1, 1)) * degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white"
    )


def _caption(picture: Image.Image, _: random.Random) -> Image.Image:
    """Write a caption in white on black over the lower 15%, as in memes."""
    captioned = picture.copy()
    band = round(picture.height * 0.15)
    draw = ImageDraw.Draw(captioned)
    draw.rectangle((0, picture.height - band, picture.width, picture.height), "black")
    font = ImageFont.load_default(max(8, round(band * 0.7)))
    draw.text((4, picture.height - band), "When you see it", "white", font)
    return captioned


def _hue(steps: int) -> Edit:
    def edit(picture: Image.Image, _: random.Random) -> Image.Image:
        hue, saturation, value = picture.convert("HSV").split()
        turned = hue.point(lambda one: (one + steps) % 256)
        return Image.merge("HSV", (turned, saturation, value)).convert("RGB")

    return edit


def _jpeg(quality: int) -> Edit:
    def edit(picture: Image.Image, _: random.Random) -> Image.Image:
        with Image.open(BytesIO(encoded(picture, quality))) as again:
            return again.convert("RGB")

    return edit


EDITS: dict[str, Edit] = {
    "crop to 50%": _crop(0.5),
    "crop to 25%": _crop(0.25),
    "turn 5": _turn(5),
    "turn 10": _turn(10),
    "turn 15": _turn(15),
    "mirror": lambda picture, _: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "JPEG quality 20": _jpeg(20),
    "caption": _caption,
    "hue +45 degrees": _hue(32),
    "grey": lambda picture, _: picture.convert("L").convert("RGB"),
    "brightness x1.3": lambda picture, _: ImageEnhance.Brightness(picture).enhance(1.3),
    "brightness x0.7": lambda picture, _: ImageEnhance.Brightness(picture).enhance(0.7),
    "half size": lambda picture, _: picture.resize((max(16, picture.width // 2), max(16, picture.height // 2))),
}


def encoded(picture: Image.Image, quality: int = _QUALITY) -> bytes:
    """Encode a picture as JPEG."""
    out = BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def on_white(file: Path) -> Image.Image:
    """Open a picture as RGB, with white where it is transparent."""
    with Image.open(file) as opened:
        picture = opened.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def evaluation_set(name: str, files: Mapping[str, Path], size: int, folder: Path) -> EvaluationSet:
    """Write every edit of a sample of pictures under ``folder``. Each edit is a query for its original among ``size``.

    The names determine the sample. Unreadable pictures and near-duplicates of other pictures are left out. Raises
    ``InvalidInput`` if too few are left.
    """
    corpus = _distinct(files, size)
    if not corpus:
        raise InvalidInput(f"{name}: there is no picture to edit.")
    asked = random.Random(name).sample(sorted(corpus), min(SAMPLE, len(corpus)))  # noqa: S311 - not for cryptography
    queries, grades, groups = {}, {}, {}
    for edit in EDITS:
        for original in asked:
            query = f"{edit}/{original}"
            queries[query] = _edited(edit, corpus[original], folder / edit / f"{original}.jpg")
            grades[query], groups[query] = {original: 1}, edit
    return EvaluationSet(name, queries, corpus, grades, groups)


def _edited(edit: str, original: Path, file: Path) -> Path:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = EDITS[edit](on_white(original), random.Random(f"{edit} {original.name}"))  # noqa: S311
        beside = file.with_suffix(".writing")
        beside.write_bytes(encoded(picture))
        beside.replace(file)
    return file


def _distinct(files: Mapping[str, Path], size: int) -> dict[str, Path]:
    """Select pictures in a fixed random order, skipping near-duplicates of those selected before."""
    names = random.Random(0).sample(sorted(files), len(files))  # noqa: S311
    hashes: NDArray[np.uint64] = np.empty(0, np.uint64)
    kept: dict[str, Path] = {}
    for one in names:
        try:
            phash = np.uint64(prepare(files[one].read_bytes()).phash)
        except InvalidInput:
            continue
        if (np.bitwise_count(hashes ^ phash) > ALIKE_BITS).all():
            hashes = np.append(hashes, phash)
            kept[one] = files[one]
        if len(kept) == size:
            break
    return kept
