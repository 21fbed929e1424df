"""The two sets for measuring recall: embeddings of real pictures, and a larger synthetic set derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import faiss
import numpy as np

from benchmarks.ann import pictures
from visualsearch.domain.recall import TOP

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYNTHETIC = 300_000
LIKE = 25_000
"""Number of real vectors that the synthetic set derives from. It is fixed, so that later embeddings do not matter."""
NEIGHBOURS = 100
"""A synthetic vector is a real one plus the scaled difference of two among this number of its nearest neighbours."""
STRIDE = 0.35
"""Scale of that difference, chosen so that held-out vectors are as near to their neighbours as real ones."""
MOST_QUERIES = 250
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Set:
    """A collection, float32 [n, 256], and queries that are not in it, float32 [q, 256] by kind."""

    name: str
    vectors: NDArray[np.float32]
    queries: dict[str, NDArray[np.float32]]

    @property
    def asked(self) -> NDArray[np.float32]:
        """Return all queries, one kind after the other."""
        return np.concatenate(list(self.queries.values()))


def real() -> Set:
    """Return the embeddings of real pictures that `benchmarks.ann.pictures` has computed so far."""
    vectors, held_out, views = pictures.load()
    kinds = {"pictures not in it": held_out[:MOST_QUERIES], "views of its pictures": views[:MOST_QUERIES]}
    return Set("real", vectors, kinds)


def synthetic(like: Set, rows: int = SYNTHETIC) -> Set:
    """Generate vectors distributed like real ones: a real vector plus a scaled difference of two of its neighbours."""
    kept = pictures.KEPT / f"synthetic-{rows}.npy"
    if not kept.exists():
        np.save(kept, made(like.vectors[:LIKE], rows + MOST_QUERIES, np.random.default_rng(0)))
    every = np.load(kept)
    return Set("synthetic", every[-rows:], {"vectors not in it": every[:MOST_QUERIES]})


def made(vectors: NDArray[np.float32], rows: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """Draw float32 [rows, 256] of unit length around real vectors."""
    near = nearest(vectors, vectors, NEIGHBOURS + 1)[1][:, 1:]
    parts = []
    for _ in range(0, rows, len(vectors)):
        one, other = (near[np.arange(len(near)), chance.integers(0, NEIGHBOURS, len(near))] for _ in range(2))
        moved = vectors + STRIDE * (vectors[one] - vectors[other])
        parts.append(moved / np.linalg.norm(moved, axis=1, keepdims=True))
    drawn = np.concatenate(parts).astype(np.float32)
    return drawn[chance.permutation(len(drawn))[:rows]]


def nearest(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Search exactly: scores float32 and rows int64, both [q, count], best first."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    scores, rows = index.search(queries, count)
    return scores, rows


def resemblance(one: Set) -> list[tuple[str, ...]]:
    """Return quantiles of the scores of a query's nearest and tenth nearest vectors, by kind of query."""
    rows = []
    for kind, queries in one.queries.items():
        scores, _ = nearest(one.vectors, queries, TOP)
        for place in (0, TOP - 1):
            values = np.quantile(scores[:, place], QUANTILES)
            rows.append((one.name, f"{len(one.vectors):,}", kind, str(place + 1), *(f"{v:.3f}" for v in values)))
    return rows
