"""The encoder in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.errors import Overloaded, Unavailable, Unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = 8


class FakeEncoder:
    """Embeds a picture by its colours on a coarse grid, so that similar pictures have similar embeddings.

    ``versions`` are the loaded versions. ``down`` and ``overloaded`` make it fail; ``delay_s`` makes it slow. Without
    ``maps`` it returns only embeddings. ``print`` is its fingerprint, ``least_cosine``
    that of near-duplicates.
    """

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        self.down = self.overloaded = False
        self.maps = True
        self.delay_s = 0.0
        self.calls = 0
        self.versions = {1, 2}
        self.print = fingerprint
        self.least_cosine: float | None = None
        self._projection = np.random.default_rng(0).normal(size=(GRID * GRID * 3, 256)).astype(np.float32)

    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        await self.check(model_version)
        if self.overloaded:
            raise Overloaded("The encoder has more work than it can do in time. Try again shortly.")
        self.calls += 1
        await asyncio.sleep(self.delay_s)
        if not len(pixels):
            return np.empty((0, 256), np.float32)
        cell = pixels.shape[1] // GRID
        grid = pixels.reshape(-1, GRID, cell, GRID, cell, 3).mean((2, 4), dtype=np.float32).reshape(len(pixels), -1)
        embeddings = (grid - 127) @ self._projection + 1e-3
        unit: NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        return unit

    async def feature_map(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Return the mean colour of each grid cell and its complement: [n, 6, 8, 8]."""
        await self.check(model_version)
        if not self.maps:
            raise Unsupported(f"Model version {model_version} gives no feature_map: export it anew.")
        cell = pixels.shape[1] // GRID
        grid = pixels.reshape(-1, GRID, cell, GRID, cell, 3).mean((2, 4), dtype=np.float32).transpose(0, 3, 1, 2)
        return np.concatenate([grid, 255 - grid], axis=1)

    async def check(self, model_version: int) -> None:
        if self.down or model_version not in self.versions:
            raise Unavailable("Triton")

    async def fingerprint(self, model_version: int) -> str:
        return self.print if model_version in self.versions else ""

    async def duplicate_cosine(self, model_version: int) -> float | None:
        return self.least_cosine if model_version in self.versions else None

    async def close(self) -> None:
        """Do nothing."""
