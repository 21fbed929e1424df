"""Fit the projection of an encoder to pictures."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from encoders.projection import pca
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from encoders.backbones import Backbone
    from encoders.projection import Projection

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
BATCH = 32
WHITEN = 0.5
"""Half whitening: better than none on both benchmarks of the model card, and equal on edited pictures."""


def pictures(folder: Path) -> list[Path]:
    """List the picture files under a folder, in a fixed order."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def features(backbone: Backbone, files: Sequence[Path]) -> NDArray[np.float32]:
    """Compute features of pictures: float32 [n, features]. Skip files that cannot be prepared."""
    parts = []
    with ThreadPoolExecutor() as pool, torch.inference_mode():
        for start in range(0, len(files), BATCH):
            pixels = [one for one in pool.map(_pixels, files[start : start + BATCH]) if one is not None]
            if pixels:
                parts.append(backbone.network(torch.from_numpy(np.stack(pixels))).numpy())
    return np.concatenate(parts) if parts else np.zeros((0, backbone.features), np.float32)


def fitted(backbone: Backbone, folders: Mapping[str, Path], dim: int, leave_out: Path | None = None) -> Projection:
    """Fit a PCA to the pictures of folders, given by set name.

    ``leave_out`` is a CSV file whose column ``original`` holds path suffixes of pictures to exclude, such as those for
    evaluation. Raises ``ConfigurationError`` if there are too few pictures.
    """
    sets = {name: features(backbone, _without(pictures(folder), leave_out)) for name, folder in folders.items()}
    counts = {name: len(rows) for name, rows in sets.items()}
    if sum(counts.values()) <= dim:
        raise ConfigurationError(f"{dim} dimensions need more than {dim} pictures to fit on, but there are {counts}.")
    return pca(np.concatenate(list(sets.values())), dim, counts, WHITEN)


def _pixels(file: Path) -> NDArray[np.uint8] | None:
    try:
        return decode(file.read_bytes()).pixels
    except InvalidInput:
        return None


def _without(files: list[Path], leave_out: Path | None) -> list[Path]:
    if leave_out is None:
        return files
    with leave_out.open(newline="") as stream:
        left_out = tuple("/" + row["original"] for row in csv.DictReader(stream))
    return [file for file in files if not file.as_posix().endswith(left_out)]
