"""The fixed split of the public pictures into training and held-out pictures.

Held out are a third of the emoji (with all their variants, by every vendor), a quarter of openclipart's folders, the
originals of the demo corpus, and two whole packages: the Tux Paint stamps and the Fluent emoji, whose artists are
absent from the training data. All other pictures are available for training.
"""

from __future__ import annotations

import csv
import hashlib
import re
from functools import cache
from pathlib import Path

EMOJI_PARTS = 3
FOLDER_PARTS = 4
_NEVER_TRAINED_ON = {"tuxpaint-stamps-default", "fluent-emoji-3d"}
_DEMO = Path(__file__).parents[2] / "demo"
_SKIN = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
_GENDER = {"2640", "2642"}
_TURNED = {"27a1"}
"""Facing right."""
_PERSON = {"1f468", "1f469", "1f9d1"}
"""Man, woman, person: astronauts, for example, are one of these joined to a rocket."""
_JOINERS = {"200d", "fe0f"}
_EMOJI_FILE = re.compile(r"(?:img/\w+/64|fluent-emoji-3d/package/assets)/([0-9a-f-]+)\.(?:png|webp)$")


def bucket(key: str, parts: int) -> int:
    """Assign a key to one of ``parts`` parts, the same on every machine: SHA-256 modulo ``parts``."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % parts


def emoji_base(code: str) -> str:
    """Remove skin tone, gender and direction from an emoji's code points (hex, joined by hyphens)."""
    points = [point.lstrip("0") for point in code.lower().split("-")]
    kept = [point for point in points if point not in _SKIN | _GENDER | _TURNED | _JOINERS] or points
    return "-".join("person" if point in _PERSON else point for point in kept)


def emoji_held_out(code: str) -> bool:
    """Whether an emoji and its variants are held out."""
    return bucket(emoji_base(code), EMOJI_PARTS) == 0


def openclipart_held_out(path: str) -> bool:
    """Whether a picture of openclipart, by its path below ``openclipart/png/``, is held out."""
    return bucket(path.rpartition("/")[0], FOLDER_PARTS) == 0 or path in _demo_originals()


def held_out(file: Path) -> bool:
    """Whether a fetched picture (``evaluation.datasets.fetch``), by its path, is excluded from training."""
    path = file.as_posix()
    if _NEVER_TRAINED_ON & set(file.parts) or file.resolve().is_relative_to(_DEMO):
        return True
    if found := _EMOJI_FILE.search(path):
        return emoji_held_out(found[1])
    _, is_openclipart, below = path.partition("openclipart/png/")
    return bool(is_openclipart) and openclipart_held_out(below)


@cache
def _demo_originals() -> frozenset[str]:
    with (_DEMO / "provenance.csv").open(newline="") as stream:
        return frozenset(row["original"].partition("openclipart/png/")[2] for row in csv.DictReader(stream))
