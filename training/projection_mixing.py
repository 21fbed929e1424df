"""Mix a trained projection with the principal directions of its features, to keep what training does not preserve.

    python -m training.projection_mixing out/training/checkpoint.pt out/mixed.pt --features out/features --share 1

Cosine similarities of the result are nearly a weighted mean of both. Training on drawings improves mostly drawings; the
principal directions preserve what distinguishes photographs and folders.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from encoders import checkpoint
from training.features import Features
from visualsearch.domain.errors import ConfigurationError, VisualSearchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIRECTIONS = 400
WHITEN = 0.5
"""Half whitening, as in ``encoders.projection_fitting``."""
FITTED_ON = 10_000
"""Maximum number of pictures to fit the mixture to."""


def mixed(
    matrix: NDArray[np.float32], mean: NDArray[np.float32], features: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """Return a projection [dim, f] whose similarities mix those of ``matrix`` [dim, f] with the principal directions'.

    Both are scaled to the same mean square on features [n, f] and stacked, the second weighted by ``share``. The result
    keeps the ``dim`` directions of largest variance of the stacked output.
    """
    centred = features - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = slice(max(0, len(values) - DIRECTIONS), None)
    even = np.maximum(values[kept], values[-1] * 1e-9) ** (-WHITEN / 2)
    both = [_unit(matrix, centred), np.sqrt(share) * _unit((vectors[:, kept] * even).T, centred)]
    stacked = np.concatenate(both)
    given = centred @ stacked.T
    _, directions = np.linalg.eigh(given.T @ given)
    best: NDArray[np.float32] = (directions[:, ::-1][:, : len(matrix)].T @ stacked).astype(np.float32)
    return best


def _unit(matrix: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = matrix / np.sqrt(((features @ matrix.T) ** 2).sum(1).mean())
    return scaled


def mix(file: Path, features: Path, share: float) -> dict[str, object]:
    """Return a checkpoint like ``file`` with a mixed projection.

    Raises ``ConfigurationError`` for a checkpoint with a tuned backbone, and for features of another backbone.
    """
    stored = checkpoint.load(file)
    about = features / "about.json"
    backbone = json.loads(about.read_text())["backbone"] if about.is_file() else "no backbone"
    if stored["backbone_state"] or backbone != stored["backbone"]:
        raise ConfigurationError(f"{features} holds features of {backbone}, not of the one in {file}.")
    features_read = Features(features, json.loads(about.read_text())).read()[0]
    served = features_read[:: max(1, len(features_read) // FITTED_ON)].astype(np.float32)
    matrix, mean = (stored["projection"][name].numpy() for name in ("matrix", "mean"))
    result = torch.from_numpy(mixed(matrix, mean, served, share))
    arguments = {**stored["arguments"], "mixed_with_principal": share}
    return {**stored, "projection": {**stored["projection"], "matrix": result}, "arguments": arguments}


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="training.projection_mixing", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="a folder that training.features filled")
    parser.add_argument("--share", type=float, default=1.0, help="of the principal directions, to 1; %(default)s")
    given = parser.parse_args(words)
    try:
        checkpoint.write(given.out, mix(given.checkpoint, given.features, given.share))
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(given.out)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
