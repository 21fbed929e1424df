"""Optimised product quantisation: rotate the embedding space so that PQ codes lose less, and nothing else changes.

    python -m export.opq encoder.onnx rotation.npz --pictures FOLDER [--subvectors 32]
    python -m export.to_onnx rotated.onnx --checkpoint checkpoint.pt --rotate rotation.npz

Ge, He, Ke and Sun (2013, "Optimized Product Quantization for Approximate Nearest Neighbor Search") learn an orthogonal
rotation before product quantisation. The encoder's last layer is linear, so the rotation can be folded into it. Dot
products of embeddings do not change, and Milvus' own IVF_PQ then works on better-balanced subvectors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders.projection import Projection
from evaluation.offline.embeddings import embedded, onnx_embed
from evaluation.offline.sets import picture_files
from visualsearch.domain.errors import ConfigurationError, VisualSearchError
from visualsearch.domain.images import EMBEDDING_DIM

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 25
PICTURES = 30_000
"""Maximum number of pictures to embed from a folder: three times as many as the codebooks need."""
BITS = 8
_ORTHOGONAL = 1e-4
"""Largest allowed deviation of R R^T from the identity."""


def learned(embeddings: NDArray[np.float32], subvectors: int, rounds: int = ROUNDS) -> NDArray[np.float32]:
    """Learn a rotation, float32 [d, d], for PQ with this number of 8-bit subvectors; apply it as ``embeddings @ R.T``.

    This is faiss' OPQMatrix: rounds of quantising the rotated vectors and solving for the rotation (orthogonal
    Procrustes). Raises ``ConfigurationError`` if the subvectors do not divide the dimension, or if there are fewer than
    39 vectors for each of the 256 centroids, because the codebooks would then overfit the sample.
    """
    import faiss

    count, dim = embeddings.shape
    if dim % subvectors:
        raise ConfigurationError(f"{subvectors} subvectors do not divide {dim} dimensions evenly.")
    needed = faiss.ClusteringParameters().min_points_per_centroid * 2**BITS
    if count < needed:
        raise ConfigurationError(f"{count} embeddings are too few to learn a rotation from; {needed} are needed.")
    matrix = faiss.OPQMatrix(dim, subvectors)
    matrix.niter = rounds
    matrix.train(np.ascontiguousarray(embeddings, np.float32))
    rotation = faiss.vector_to_array(matrix.A).reshape(dim, dim)
    return nearest_rotation(rotation)


def nearest_rotation(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the nearest orthogonal matrix. An SVD in float64 removes the rounding errors of float32."""
    left, _, right = np.linalg.svd(matrix.astype(np.float64))
    rotation: NDArray[np.float32] = (left @ right).astype(np.float32)
    return rotation


def folded(projected: Projection, rotation: NDArray[np.float32]) -> Projection:
    """Fold a rotation into a projection. Similarities do not change: ``(R x) . (R y) = x . y``."""
    if rotation.shape != (len(projected.matrix),) * 2:
        raise ConfigurationError(f"A rotation of {rotation.shape} does not fit {len(projected.matrix)} dimensions.")
    matrix = (rotation.astype(np.float64) @ projected.matrix.astype(np.float64)).astype(np.float32)
    return Projection(matrix, projected.mean, f"{projected.how}; rotated for PQ", projected.fitted_on)


def write(rotation: NDArray[np.float32], file: Path) -> None:
    """Write a rotation to a file."""
    np.savez_compressed(file, rotation=rotation)


def read(file: Path) -> NDArray[np.float32]:
    """Read a rotation, float32 [256, 256]. Raises ``ConfigurationError`` if the file does not contain one."""
    try:
        with np.load(file) as stored:
            rotation: NDArray[np.float32] = stored["rotation"]
    except (OSError, ValueError, KeyError):
        raise ConfigurationError(f"{file} holds no rotation; `python -m export.opq` writes one.") from None
    square = rotation.shape == (EMBEDDING_DIM, EMBEDDING_DIM)
    if not square or np.abs(rotation @ rotation.T - np.eye(EMBEDDING_DIM)).max() > _ORTHOGONAL:
        raise ConfigurationError(f"{file} holds no rotation of {EMBEDDING_DIM} dimensions.")
    return rotation


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="export.opq", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="an ONNX file of ours")
    parser.add_argument("out", type=Path, help="the rotation, .npz")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of pictures like those to be searched")
    parser.add_argument("--subvectors", type=int, default=32, help="m of IVF_PQ; %(default)s")
    arguments = parser.parse_args(words)
    try:
        files = picture_files(arguments.pictures)
        some = dict(list(files.items())[:: -(-len(files) // PICTURES)])
        embeddings, _, skipped = embedded(some, onnx_embed(arguments.model))
        write(learned(embeddings, arguments.subvectors), arguments.out)
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{arguments.out}: learned from {len(embeddings)} pictures; {len(skipped)} were skipped.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
