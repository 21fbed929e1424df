"""What a search asks, what a vector collection finds, and what an answer holds. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from visualsearch.domain.images import Visibility

MAX_CANDIDATES = 16_384
"""Rows in one answer of Milvus, at most."""

MAX_K = 200
DEFAULT_K = 50
NEAR_DUPLICATE_DISTANCE = 10
"""Hamming distance of two 64-bit pHashes up to which pictures fold: 1 false pair in 10,000 (ARCHITECTURE.md)."""
SURE_DISTANCE = 4
NEAR_DUPLICATE_COSINE = 0.4
"""Simple shapes may have near pHashes by chance: beyond ``SURE_DISTANCE`` bits the embeddings must be so alike as well.
Of edited copies none falls under it (benchmarks/results/folding.md)."""


class NearDuplicates(StrEnum):
    """What a search does with near-duplicates: fold them into their best member, or list each."""

    COLLAPSE = "collapse"
    KEEP = "keep"


class Consistency(StrEnum):
    """What a search must see: what has been indexed (``bounded``), or all that has been written when it begins."""

    BOUNDED = "bounded"
    STRONG = "strong"


class Priority(IntEnum):
    """Whose pictures the encoder takes first; the lower goes first."""

    SEARCHING = 1
    INDEXING = 2


@dataclass(frozen=True, slots=True)
class VectorRow:
    """One row of a vector collection. ``embedding`` is float32 [256] of unit length."""

    image_id: int
    embedding: NDArray[np.float32]
    phash: int
    phash_mirrored: int
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    min_side: int = 0
    """The shorter side of the picture, in pixels."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a vector collection found, in columns of equal length n, best first.

    ``ids`` int64 [n], ``scores`` float32 [n] (cosine similarity, re-scored exactly from the raw vectors), ``phashes``
    and ``phashes_mirrored`` uint64 [n]. ``exhausted`` says that the collection has no more to give for this query.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    phashes: NDArray[np.uint64]
    phashes_mirrored: NDArray[np.uint64]
    exhausted: bool
    rescore_ms: float = 0.0
    """How long the exact re-scoring took."""
    embeddings: NDArray[np.float32] | None = None
    """float32 [n, 256], where they came along."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search may return; applied inside the vector store, never after it.

    Public images always pass; private ones only where ``owner`` is theirs. An empty ``owner`` is nobody.
    """

    owner: str = ""
    blocked_sources: frozenset[str] = frozenset()
    blocked_ids: frozenset[int] = frozenset()
    min_side: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place of a ranking. ``near_duplicates`` are the ids that were folded into it, best first."""

    image_id: int
    score: float
    near_duplicates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One answer of a search: a ranked image together with what is needed to show it. ``rank`` counts from 1."""

    id: int
    score: float
    uri: str
    rank: int
    width: int
    height: int
    near_duplicates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search gives back. ``timings_ms`` has the keys decode, embed, ann and rank; all times in milliseconds.

    ``rescore_ms`` is the part of ann that went into exact scores.
    """

    query_image_id: int
    results: tuple[Result, ...]
    latency_ms: float
    timings_ms: Mapping[str, float]
    release: str
    rescore_ms: float = 0.0
    variants: Mapping[str, str] = field(default_factory=dict)
    """Which variant of each experiment answered."""
