"""Baselines of the offline evaluation: perceptual hashes, colour histograms, and the backbone as published.

Each is a function from uint8 [n, 224, 224, 3] to float32 [n, d] of unit length, like an encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagehash
import numpy as np
from PIL import Image

from evaluation.datasets.fetch import DATA, SOURCES, fetch
from evaluation.offline.embeddings import Embed, onnx_embed
from evaluation.offline.splits import held_out
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.images import EMBEDDING_DIM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

HUES, SATURATIONS, VALUES = 16, 4, 4
FITTED_ON = 3000
"""Maximum number of pictures of openclipart that the PCA is fitted on. None of them is held out."""


def phash(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the 64 bits of the perceptual hash as plus or minus 1/8, so that a dot product is 1 - distance / 32."""
    bits = np.stack([imagehash.phash(Image.fromarray(one)).hash.ravel() for one in pixels])
    return np.where(bits, np.float32(0.125), np.float32(-0.125))


def colours(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the square roots of a normalized HSV histogram; a dot product is then the Bhattacharyya coefficient."""
    rows = []
    for one in pixels:
        hsv = np.asarray(Image.fromarray(one).convert("HSV")).astype(np.int64).reshape(-1, 3)
        bins = (hsv * [HUES, SATURATIONS, VALUES]) // 256
        index = (bins[:, 0] * SATURATIONS + bins[:, 1]) * VALUES + bins[:, 2]
        rows.append(np.bincount(index, minlength=HUES * SATURATIONS * VALUES) / len(hsv))
    return np.sqrt(np.stack(rows)).astype(np.float32)


def raw(cache: Path) -> Embed:
    """Return the backbone alone, with 1,280 dimensions. Needs the training environment unless it is cached."""
    return onnx_embed(_kept(cache / "efficientnet-lite0-raw.onnx", _raw))


def pca(cache: Path, data: Path = DATA) -> Embed:
    """Return the backbone with a plain PCA to 256 dimensions, fitted on pictures that are not evaluated."""
    return onnx_embed(_kept(cache / "efficientnet-lite0-pca256.onnx", lambda: _pca(data)))


BASELINES: dict[str, Callable[[Path], Embed]] = {
    "pHash": lambda _: phash,
    "HSV histogram": lambda _: colours,
    "raw backbone, 1280-d": raw,
    "PCA-256": pca,
}
"""Builders by name. Each takes a folder in which it may cache its model."""


def _kept(file: Path, make: Callable[[], bytes]) -> Path:
    if not file.exists():
        try:
            made = make()
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"The baseline needs {error.name}, which is in the training environment: `make setup-train` makes it."
            ) from None
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".writing")
        beside.write_bytes(made)
        beside.replace(file)
    return file


def _raw() -> bytes:
    from encoders import backbones, onnx_conversion, projection

    backbone = backbones.load(backbones.LITE0)
    return onnx_conversion.to_onnx(onnx_conversion.ProjectedBackbone(backbone, projection.identity(backbone.features)))


def _pca(data: Path) -> bytes:
    from encoders import backbones, onnx_conversion, projection, projection_fitting

    backbone = backbones.load(backbones.LITE0)
    files = [
        file for file in projection_fitting.pictures(fetch(SOURCES["openclipart-png"], data)) if not held_out(file)
    ]
    files = files[:: -(-len(files) // FITTED_ON)]
    features = projection_fitting.features(backbone, files)
    projected = projection.pca(features, EMBEDDING_DIM, {"openclipart-png": len(features)})
    return onnx_conversion.to_onnx(onnx_conversion.ProjectedBackbone(backbone, projected))
