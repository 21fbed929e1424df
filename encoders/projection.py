"""The linear map from a backbone's features to 256 dimensions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Projection:
    """``(features - mean) @ matrix.T``, with float32 matrix [256, features] and mean [features]."""

    matrix: NDArray[np.float32]
    mean: NDArray[np.float32]
    how: str
    fitted_on: Mapping[str, int] = field(default_factory=dict)
    """Number of pictures that it was fitted on, by set."""


def pca(features: NDArray[np.float32], dim: int, fitted_on: Mapping[str, int], whiten: float = 0.0) -> Projection:
    """Fit the ``dim`` directions of largest variance to float32 [n, features].

    ``whiten`` divides each direction by its standard deviation to that power: 0 keeps distances, 1 whitens fully.
    """
    mean = features.mean(0)
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    deviation = singular[:dim] / np.sqrt(len(features))
    matrix = directions[:dim] * (deviation[0] / deviation[:, None]) ** whiten
    return Projection(matrix.astype(np.float32), mean, f"PCA, whitened to the power {whiten:g}", dict(fitted_on))


def orthogonal(features: int, dim: int, seed: int) -> Projection:
    """Draw a random projection that approximately preserves angles; it needs no pictures."""
    square, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((features, features)))
    matrix = square[:dim].astype(np.float32)
    return Projection(matrix, np.zeros(features, np.float32), f"random orthogonal, seed {seed}")


def identity(dim: int) -> Projection:
    """Return the identity, for a backbone with ``dim`` features."""
    return Projection(np.eye(dim, dtype=np.float32), np.zeros(dim, np.float32), "none")
