"""The measurements of the gate: fidelity of the model, ranking quality, recall and latency."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from visualsearch.domain import recall
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.domain.images import stack_pixels
from visualsearch.domain.ranking_metrics import ndcg
from visualsearch.domain.search import Filter
from visualsearch.imaging.preprocessing import fingerprint, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from visualsearch.domain.releases import Release
    from visualsearch.ports import Encoder, Vectors

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PICTURES = 400
"""Number of pictures used from the evaluation set, the same ones for every release."""
PROBES = 16
"""Pictures that ONNX Runtime embeds too, for comparison."""
TOP = 10
ASKED = 64
"""Number of queries for recall and latency."""
EXACT = 4000
"""Number of candidates that are scored exactly to find the true neighbours."""
BATCH = 16


@dataclass(frozen=True, slots=True)
class GateSet:
    """Pictures as uint8 [n, 224, 224, 3], and the category of each."""

    pixels: NDArray[np.uint8]
    categories: Sequence[str]


def evaluation_set(folder: Path) -> GateSet:
    """Read pictures from category folders; unreadable pictures are skipped.

    Raises ``ConfigurationError`` if no two pictures share a category.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    kept = files[:: max(1, len(files) // PICTURES)][:PICTURES]
    pictures, categories = [], []
    for file in kept:
        try:
            pictures.append(prepare(file.read_bytes()))
        except InvalidInput as error:
            log.warning("%s is left out of the evaluation: %s", file, error)
            continue
        categories.append(file.relative_to(folder).parts[0])
    if len(set(categories)) == len(categories):
        raise ConfigurationError(
            f"{folder} holds no two pictures of one category: VISUALSEARCH_EVALUATION_SET must name a folder of "
            "category folders."
        )
    return GateSet(stack_pixels(pictures), categories)


async def embedded(
    encoder: Encoder, release: Release, pixels: NDArray[np.uint8], tell: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """Embed pictures with a release's model as float32 [n, 256], in batches."""
    parts = []
    for begin in range(0, len(pixels), BATCH):
        parts.append(await encoder.encode(pixels[begin : begin + BATCH], release.model_version))
        tell(len(parts[-1]))
    return np.concatenate(parts)


def quality(embeddings: NDArray[np.float32], categories: Sequence[str], k: int = TOP) -> float:
    """Return the mean nDCG@k with each picture as a query against all others; those of its category are relevant."""
    scores = embeddings @ embeddings.T
    np.fill_diagonal(scores, -np.inf)
    names = np.array(categories)
    relevant = (names[:, None] == names[None, :]) & ~np.eye(len(names), dtype=bool)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    values = [
        ndcg(relevant[query, best[query]].astype(int).tolist(), [1] * int(relevant[query].sum()), k)
        for query in range(len(names))
        if relevant[query].any()
    ]
    return float(np.mean(values))


async def faithful(
    release: Release, model: Path, pixels: NDArray[np.uint8], served: NDArray[np.float32]
) -> tuple[bool, float]:
    """Compare served embeddings with the model file; return whether its fingerprint matches, and the lowest cosine.

    ``served`` are Triton's embeddings of ``pixels``. Raises ``ConfigurationError`` if the file does not exist.
    """
    file = model / str(release.model_version) / "model.onnx"
    if not file.is_file():
        raise ConfigurationError(f"{file} is missing: the gate compares what is served with it.")
    data = await asyncio.to_thread(file.read_bytes)

    def run() -> NDArray[np.float32]:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        embeddings: NDArray[np.float32] = session.run(["embedding"], {"pixels": pixels[:PROBES]})[0]
        return embeddings

    alone = await asyncio.to_thread(run)
    cosines = np.sum(alone * served[:PROBES], axis=1)
    return fingerprint(data) == release.encoder_fingerprint, float(cosines.min())


async def recalled(vectors: Vectors, release: Release, queries: NDArray[np.float32]) -> float | None:
    """Return recall@10 of the release's index against an exact search, on float32 queries [n, 256]; None if empty."""
    total = recall.Recall()
    for query in queries[:ASKED]:
        found = await vectors.nearest(release.collection, query, recall.CANDIDATES, release.search_params, Filter())
        exact = await vectors.nearest(
            release.collection, query, EXACT, recall.thorough(release.search_params), Filter()
        )
        total += recall.compared(found.scores, exact.scores)
    return total.value


async def p95_ms(encoder: Encoder, vectors: Vectors, release: Release, pixels: NDArray[np.uint8]) -> float:
    """Return the 95th percentile in milliseconds of embedding a picture and searching with it, one at a time."""
    times = []
    for picture in pixels[:ASKED]:
        begin = time.perf_counter()
        embeddings = await encoder.encode(picture[None], release.model_version)
        await vectors.nearest(release.collection, embeddings[0], recall.CANDIDATES, release.search_params, Filter())
        times.append((time.perf_counter() - begin) * 1000)
    return float(np.percentile(times, 95))
