"""Initial projections, computed in closed form from the features of pictures as served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from encoders import backbones
from encoders.checkpoint import TrainableEncoder, TrainableProjection
from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.batches import BatchSource, Rows
    from training.config import Config
    from training.picture_collection import Collection

FITTED_ON = 30_000
"""Maximum number of pictures to fit the initial projection to."""

PRINCIPAL = 900
"""Number of directions to whiten. The remaining directions of 3,304 features hold 6% of the variance, and noise."""
CLASS_CAP = 30
"""Maximum weight of a class, in pictures, so that large folders do not dominate."""


def encoder(
    given: Config, source: BatchSource, collection: Collection, rows: Rows, resumed: dict[str, Any] | None
) -> TrainableEncoder:
    """Return the initial encoder of a run: that of a checkpoint, or a new one fitted to rows.

    Raises ``ConfigurationError`` if backbone, dimension or checkpoint do not fit.
    """
    backbone = backbones.load(given.backbone, given.pretrained)
    if not resumed:
        return TrainableEncoder(backbone, _first(given, source, collection, rows, backbone), given.tune)
    kept = resumed["projection"]
    begun = TrainableEncoder(backbone, TrainableProjection(kept["matrix"], kept["mean"]), given.tune)
    if resumed["backbone_state"]:
        begun.backbone.load_state_dict(resumed["backbone_state"])
    return begun


def _first(
    given: Config, source: BatchSource, collection: Collection, rows: Rows, backbone: backbones.Backbone
) -> TrainableProjection:
    rows = rows[:: max(1, len(rows) // FITTED_ON)]
    served = _features(backbone, source.served(rows), given.micro_batch)
    if given.start == "principal":
        return principal(served, given.dim, given.whiten, given.seed)
    if given.start != "within":
        raise ConfigurationError(f"A projection starts from principal or within, not from {given.start}.")
    viewed = _features(backbone, source.viewed(rows), given.micro_batch)
    return within(served, (collection.labels[rows], collection.kinds[rows]), viewed, given.dim, given.ridge)


def _features(backbone: backbones.Backbone, inputs: torch.Tensor, at_once: int) -> NDArray[np.float32]:
    if inputs.is_floating_point():
        served: NDArray[np.float32] = inputs.numpy()
        return served
    with torch.inference_mode():
        parts = [backbone.network(part) for part in inputs.split(at_once)]
    found: NDArray[np.float32] = torch.cat(parts).numpy()
    return found


def principal(features: NDArray[np.float32], dim: int, whiten: float = 0.5, seed: int = 0) -> TrainableProjection:
    """Return the directions of largest variance of features [n, f], whitened as in ``encoders.projection_fitting``.

    If there are fewer pictures than dimensions, add random directions. Raises ``ConfigurationError`` if the features
    have fewer dimensions than the projection.
    """
    if features.shape[1] < dim:
        raise ConfigurationError(
            f"The backbone gives {features.shape[1]} features; a projection to {dim} needs as many."
        )
    mean = features.mean(0)
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    deviation = np.maximum(singular[:dim], singular[0] * 1e-3) / np.sqrt(len(features))
    matrix = directions[:dim] * (deviation[0] / deviation[:, None]) ** whiten
    if len(matrix) < dim:
        random = np.random.default_rng(seed).standard_normal((dim - len(matrix), features.shape[1]))
        matrix = np.concatenate([matrix, random / np.linalg.norm(random, axis=1, keepdims=True)])
    return _projection(matrix, mean)


def within(
    features: NDArray[np.float32],
    classes: Sequence[NDArray[np.int64]],
    views: NDArray[np.float32],
    dim: int,
    ridge: float,
) -> TrainableProjection:
    """Reduce the variance within classes, then return the directions of largest variance of features [n, f].

    ``classes`` are labels [n], one array for each way to classify the pictures. ``views`` [n, f] are augmented views of
    them. The within-class scatter is whitened, with ``ridge`` times an isotropic scatter added, and a PCA follows. This
    is linear discriminant analysis (Fukunaga, 1990, chapter 10), with the scatter of pictures instead of that of class
    means as the between-class scatter. Raises ``ConfigurationError`` for fewer pictures or features than dimensions.
    """
    if min(features.shape) < dim:
        raise ConfigurationError(f"{dim} dimensions need as many pictures and features; there are {features.shape}.")
    mean = features.mean(0)
    centred = features - mean
    _, directions = np.linalg.eigh(centred.T @ centred)
    basis = directions[:, ::-1][:, : max(dim, PRINCIPAL)]
    reduced = centred @ basis
    apart = (views - mean) @ basis - reduced
    scatter = apart.T @ apart / (2 * len(apart))
    for labels in classes:
        scatter = scatter + _scatter(reduced, labels)
    scatter /= np.trace(scatter)
    values, vectors = np.linalg.eigh(scatter + ridge / len(scatter) * np.eye(len(scatter)))
    whitening = vectors / np.sqrt(values)
    _, between = np.linalg.eigh(whitening.T @ (reduced.T @ reduced) @ whitening)
    matrix = (basis @ whitening @ between[:, ::-1][:, :dim]).T
    return _projection(matrix / np.sqrt((matrix**2).sum(1).mean()), mean)


def _scatter(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean outer product of differences from the class mean, over classes of two or more: [f, f]."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, inverse, features)
    several = counts[inverse] > 1
    if not several.any():
        return np.zeros((features.shape[1], features.shape[1]))
    apart = (features - (sums / counts[:, None])[inverse])[several]
    weight = (np.minimum(counts, CLASS_CAP) / np.maximum(counts - 1, 1))[inverse][several]
    total: NDArray[np.float64] = (apart * weight[:, None]).T @ apart / weight.sum()
    return total


def _projection(matrix: NDArray[np.float64], mean: NDArray[np.float32]) -> TrainableProjection:
    return TrainableProjection(torch.from_numpy(np.ascontiguousarray(matrix, np.float32)), torch.from_numpy(mean))
