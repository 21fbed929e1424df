"""The two sets that recall is measured on: embeddings of real pictures, and more of the same kind, made of them."""

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
"""Made of so many real ones, the same however many more have been embedded since."""
NEIGHBOURS = 100
"""A made vector differs from a real one as two of that one's hundred nearest differ from each other."""
STRIDE = 0.35
"""How far, as a share of that difference: with it, held-out vectors are as near to their neighbours as real ones."""
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
        """All queries, one kind after the other."""
        return np.concatenate(list(self.queries.values()))


def real() -> Set:
    """Return the embeddings of real pictures that `benchmarks.ann.pictures` has made so far."""
    vectors, held_out, views = pictures.load()
    kinds = {"pictures not in it": held_out[:MOST_QUERIES], "views of its pictures": views[:MOST_QUERIES]}
    return Set("real", vectors, kinds)


def synthetic(like: Set, rows: int = SYNTHETIC) -> Set:
    """Make vectors that lie to each other as real ones do: a real one, moved along a difference of two neighbours."""
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
    """Quantiles of the scores of a query's nearest and tenth nearest, by kind of query."""
    rows = []
    for kind, queries in one.queries.items():
        scores, _ = nearest(one.vectors, queries, TOP)
        for place in (0, TOP - 1):
            values = np.quantile(scores[:, place], QUANTILES)
            rows.append((one.name, f"{len(one.vectors):,}", kind, str(place + 1), *(f"{v:.3f}" for v in values)))
    return rows
