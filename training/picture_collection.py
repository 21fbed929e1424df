"""The training pictures, and the batches of their views.

All randomness depends only on (seed, epoch, picture). A resumed run therefore equals an uninterrupted one, and
processes agree without communication.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import track
from torch.utils.data import Dataset

from training import augment
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.imaging.boxes import parse_box
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from visualsearch.domain.images import Box

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
TABLE = "pictures.csv"
SOURCES = "sources.csv"
PAIRS = "pairs.jsonl"


@dataclass(frozen=True)
class Picture:
    """A file, or a box in it. Pictures with the same label show the same thing, those of one kind similar things."""

    file: Path
    label: str
    kind: str = ""
    """Empty if unknown."""
    box: Box | None = None
    clicked: bool = False
    """Whether it comes from a user's click."""

    def clean(self) -> NDArray[np.uint8]:
        """Return the picture prepared as in serving: uint8 [224, 224, 3]. Raises ``InvalidInput`` or ``OSError``."""
        return decode(self.file.read_bytes(), self.box).pixels


class Collection:
    """Pictures with their labels and kinds as numbers, int64 [n] each."""

    def __init__(self, pictures: list[Picture]) -> None:
        self.pictures = pictures
        self.labels = _numbered([one.label for one in pictures])
        self.kinds = _numbered([one.kind or f"only {one.label}" for one in pictures])
        self.alike: defaultdict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(self.labels.tolist()):
            self.alike[label].append(row)
        self.clicked = np.array([one.clicked for one in pictures], bool)

    def __len__(self) -> int:
        return len(self.pictures)

    def partner(self, row: int, chance: np.random.Generator) -> int:
        """Choose a picture with the same label: often the row itself, always if the label has no other picture."""
        return int(chance.choice(self.alike[int(self.labels[row])]))

    def split(self, share: float, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the training rows and the validation rows. They share no label, and all clicks are training rows."""
        watched: list[int] = []
        labels = np.random.default_rng([seed]).permutation(np.unique(self.labels[~self.clicked]))
        for label in labels.tolist():
            if len(watched) + len(self.alike[label]) <= min(most, share * len(self)):
                watched += self.alike[label]
        return np.setdiff1d(np.arange(len(self)), watched), np.array(sorted(watched), np.int64)

    def batches(
        self, rows: NDArray[np.int64], seed: int, epoch: int, size: int, click_ratio: float = 0.0
    ) -> list[NDArray[np.int64]]:
        """Return the rows of each batch of an epoch, ``size`` per batch. Each row occurs once; a remainder is dropped.

        A share ``click_ratio`` of each batch is drawn from clicks, with repetition.
        """
        chance = np.random.default_rng([seed, epoch])
        clicked, others = rows[self.clicked[rows]], rows[~self.clicked[rows]]
        drawn = round(size * click_ratio) if len(clicked) else 0
        fresh = min(size - drawn, len(others))
        order = chance.permutation(others)
        parts = [order[start : start + fresh] for start in range(0, len(order) - fresh + 1, fresh)]
        return [np.concatenate([part, chance.choice(clicked, drawn)]) for part in parts] if drawn else parts


def read(root: Path, clicks: Path | None = None) -> tuple[Collection, dict[str, str]]:
    """Read a folder, and a folder of click pairs (``training.click_pairs``), and decode every picture once as a check.

    An optional ``pictures.csv`` in the folder tells by ``file``, ``concept`` and ``category`` which pictures show the
    same or similar things. Returns the collection, and the reason for each skipped file. Raises ``ConfigurationError``
    if fewer than two are left.
    """
    found = _table(root) if (root / TABLE).is_file() else _files(root)
    found += _pairs(clicks) if clicks else []
    with ThreadPoolExecutor() as pool:
        trouble = list(track(pool.map(_trouble, found), "Reading", len(found), transient=True))
    kept = [one for one, reason in zip(found, trouble, strict=True) if reason is None]
    if len(kept) < 2:
        raise ConfigurationError(
            f"{root} holds {len(kept)} pictures that can be read (JPEG, PNG or WebP); two are the least."
        )
    skipped = {str(one.file): reason for one, reason in zip(found, trouble, strict=True) if reason is not None}
    return Collection(kept), skipped


def described(collection: Collection, root: Path) -> dict[str, object]:
    """Describe the data for the model card: the number of pictures, their folders and licences."""
    own = [one.file.relative_to(root).parts for one in collection.pictures if not one.clicked]
    folders = Counter(parts[0] if len(parts) > 1 else "." for parts in own)
    licences = list(csv.DictReader((root / SOURCES).open())) if (root / SOURCES).is_file() else []
    return {
        "pictures": len(collection),
        "clicked": int(collection.clicked.sum()),
        "labels": len(collection.alike),
        "folders": dict(sorted(folders.items())),
        "sources": licences,
    }


class Views(Dataset[tuple["NDArray[np.uint8]", "NDArray[np.uint8]"]]):  # type: ignore[misc]
    """Two augmented views of each picture, uint8 [224, 224, 3] each. The second may be of another artist's drawing."""

    def __init__(self, collection: Collection, seed: int, epoch: int) -> None:
        self.collection, self.key = collection, (seed, epoch)

    def __len__(self) -> int:
        return len(self.collection)

    def __getitem__(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Make the views of a row."""
        chance = np.random.default_rng([*self.key, row])
        one, other = (self.collection.pictures[which] for which in (row, self.collection.partner(row, chance)))
        return augmented(one, chance), augmented(other, chance)


def _numbered(names: list[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def augmented(picture: Picture, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Return a strongly augmented view of a picture: uint8 [224, 224, 3]."""
    return augment.view(picture.file.read_bytes(), chance, picture.box)


def _files(root: Path) -> list[Picture]:
    if not root.is_dir():
        raise ConfigurationError(f"{root} is no folder; name one that holds pictures.")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return [Picture(file, file.as_posix()) for file in files]


def _table(root: Path) -> list[Picture]:
    with (root / TABLE).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [Picture(root / row["file"], row.get("concept") or row["file"], row.get("category") or "") for row in rows]


def _pairs(folder: Path) -> list[Picture]:
    if not (folder / PAIRS).is_file():
        raise ConfigurationError(f"{folder / PAIRS} is missing; python -m training.click_pairs writes it.")
    pictures: dict[Picture, None] = {}
    for line in (folder / PAIRS).read_text().splitlines():
        pair = json.loads(line)
        label = f"clicked {pair['positive']}"
        box = parse_box(pair["box"]) if pair["box"] else None
        for file, part in ((pair["query"], box), (pair["positive"], None)):
            pictures[Picture(folder / file, label, box=part, clicked=True)] = None
    return list(pictures)


def _trouble(picture: Picture) -> str | None:
    try:
        picture.clean()
    except (InvalidInput, OSError) as error:
        return str(error)
    return None
