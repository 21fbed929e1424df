"""Where a run gets its batches from: pictures, or features of pictures that were computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader

from training import data
from training.features import Features, about
from visualsearch.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Rows = NDArray[np.int64]


class Source(Protocol):
    """Gives inputs of the encoder for rows of a collection."""

    def epoch(self, batches: list[Rows], seed: int, epoch: int) -> Iterator[torch.Tensor]:
        """Yield two augmented views of the rows of each batch: [2n, ...], first views before second ones."""
        ...

    def watched(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one augmented view of each row, always the same, and the picture as it is served."""
        ...


class Pictures:
    """uint8 [n, 224, 224, 3], made anew each time."""

    def __init__(self, collection: data.Collection, workers: int) -> None:
        self._collection, self._workers = collection, workers

    def epoch(self, batches: list[Rows], seed: int, epoch: int) -> Iterator[torch.Tensor]:
        """Make the views of an epoch."""
        views = data.Views(self._collection, seed, epoch)
        for one, other in DataLoader(views, batch_sampler=[rows.tolist() for rows in batches], num_workers=self._workers):
            yield torch.cat([one, other])

    def watched(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Make a view of each row."""
        pictures = [self._collection.pictures[row] for row in rows]
        views = [data.augmented(one, np.random.default_rng([row])) for row, one in zip(rows, pictures, strict=True)]
        return torch.from_numpy(np.stack(views)), torch.from_numpy(np.stack([one.clean() for one in pictures]))


class Cached:
    """float32 [n, features], out of the rounds of ``training.features``."""

    def __init__(self, collection: data.Collection, folder: Path, backbone: str, seed: int) -> None:
        self._collection = collection
        self._rounds = Features(folder, about(collection, backbone, seed)).read()
        if len(self._rounds) < 3:  # noqa: PLR2004 - one as served, and two views
            raise ConfigurationError(f"{folder} has {len(self._rounds)} rounds; compute 3 at least by training.features.")

    def epoch(self, batches: list[Rows], seed: int, epoch: int) -> Iterator[torch.Tensor]:
        """Draw two different rounds for each row."""
        chance = np.random.default_rng([seed, epoch, 1])
        for rows in batches:
            partners = np.array([self._collection.partner(int(row), chance) for row in rows])
            first = chance.integers(0, len(self._rounds), len(rows))
            second = (first + chance.integers(1, len(self._rounds), len(rows))) % len(self._rounds)
            yield torch.cat([self._take(first, rows), self._take(second, partners)])

    def watched(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the last round's views."""
        last = np.full(len(rows), len(self._rounds) - 1)
        return self._take(last, rows), self._take(np.zeros_like(last), rows)

    def _take(self, rounds: NDArray[np.int64], rows: Rows) -> torch.Tensor:
        taken = np.empty((len(rows), self._rounds[0].shape[1]), np.float32)
        for number in np.unique(rounds):
            here = rounds == number
            taken[here] = self._rounds[number][rows[here]]
        return torch.from_numpy(taken)
