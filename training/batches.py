"""Sources of training batches: pictures, or precomputed features of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader

from training import picture_collection
from training.features import Features, about
from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config

    Rows = NDArray[np.int64]


class BatchSource(Protocol):
    """Provides inputs of the encoder for rows of a collection."""

    def epoch(self, batches: list[Rows], seed: int, epoch: int) -> Iterator[torch.Tensor]:
        """Yield two augmented views of the rows of each batch: [2n, ...], first views before second ones."""
        ...

    def viewed(self, rows: Rows) -> torch.Tensor:
        """Return one augmented view of each row, always the same."""
        ...

    def served(self, rows: Rows) -> torch.Tensor:
        """Return each row's picture as it is served."""
        ...


def source(given: Config, collection: picture_collection.Collection) -> BatchSource:
    """Return the source that the configuration names. Raises ``ConfigurationError`` if its features do not fit."""
    if not given.features:
        return Pictures(collection, given.workers)
    if given.tune:
        raise ConfigurationError("Features come of a frozen backbone: leave out --tune or --features.")
    return Cached(collection, given.features, given.backbone)


class Pictures:
    """Pixels, uint8 [n, 224, 224, 3], computed on each call."""

    def __init__(self, collection: picture_collection.Collection, workers: int) -> None:
        self._collection, self._workers = collection, workers

    def epoch(self, batches: list[Rows], seed: int, epoch: int) -> Iterator[torch.Tensor]:
        """Make the views of an epoch."""
        views = picture_collection.Views(self._collection, seed, epoch)
        for one, other in DataLoader(
            views, batch_sampler=[rows.tolist() for rows in batches], num_workers=self._workers
        ):
            yield torch.cat([one, other])

    def viewed(self, rows: Rows) -> torch.Tensor:
        """Make a view of each row."""
        made = [
            picture_collection.augmented(self._collection.pictures[row], np.random.default_rng([row])) for row in rows
        ]
        return torch.from_numpy(np.stack(made))

    def served(self, rows: Rows) -> torch.Tensor:
        """Prepare the pictures."""
        return torch.from_numpy(np.stack([self._collection.pictures[row].clean() for row in rows]))


class Cached:
    """Features, float32 [n, features], from the rounds of ``training.features``."""

    def __init__(self, collection: picture_collection.Collection, folder: Path, backbone: str) -> None:
        self._collection = collection
        self._rounds = Features(folder, about(collection, backbone)).read()
        if len(self._rounds) < 2:
            raise ConfigurationError(
                f"{folder} has {len(self._rounds)} rounds; compute 2 at least by training.features."
            )

    def epoch(self, batches: list[Rows], seed: int, epoch: int) -> Iterator[torch.Tensor]:
        """Draw two different rounds for each row."""
        chance = np.random.default_rng([seed, epoch, 1])
        for rows in batches:
            partners = np.array([self._collection.partner(int(row), chance) for row in rows])
            first = chance.integers(0, len(self._rounds), len(rows))
            second = (first + chance.integers(1, len(self._rounds), len(rows))) % len(self._rounds)
            yield torch.cat([self._take(first, rows), self._take(second, partners)])

    def viewed(self, rows: Rows) -> torch.Tensor:
        """Take the last round's views."""
        return self._take(np.full(len(rows), len(self._rounds) - 1), rows)

    def served(self, rows: Rows) -> torch.Tensor:
        """Take the first round."""
        return self._take(np.zeros(len(rows), np.int64), rows)

    def _take(self, rounds: NDArray[np.int64], rows: Rows) -> torch.Tensor:
        taken = np.empty((len(rows), self._rounds[0].shape[1]), np.float32)
        for number in np.unique(rounds):
            here = rounds == number
            taken[here] = self._rounds[number][rows[here]]
        return torch.from_numpy(taken)
