"""Values of a search: filter, candidates and results. Standard library and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from visualsearch.domain.images import Image, Visibility

MAX_CANDIDATES = 16_384
"""Largest number of rows in one answer of Milvus."""

MAX_K = 200
DEFAULT_K = 50
MIN_SCORE, MAX_SCORE = -1.0, 1.0
"""Range of scores, which are cosine similarities."""


class NearDuplicates(StrEnum):
    """Treatment of near-duplicates: fold them into their best member, or list each."""

    COLLAPSE = "collapse"
    KEEP = "keep"


class Consistency(StrEnum):
    """What a search must see: images that are indexed (``bounded``), or everything written before it starts."""

    BOUNDED = "bounded"
    STRONG = "strong"


class Priority(IntEnum):
    """Priority of a request to the encoder; lower values go first."""

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
    """Shorter side of the picture, in pixels."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates of a search, in columns of equal length n, best first.

    ``ids`` is int64 [n]. ``scores`` is float32 [n]: cosine similarity, computed exactly from the raw vectors.
    ``phashes`` and ``phashes_mirrored`` are uint64 [n]. ``exhausted`` says that the collection has no more rows for
    this query.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    phashes: NDArray[np.uint64]
    phashes_mirrored: NDArray[np.uint64]
    exhausted: bool
    rescore_ms: float = 0.0
    """Time of the exact re-scoring, in milliseconds."""
    embeddings: NDArray[np.float32] | None = None
    """float32 [n, 256]; None if they were not fetched."""


@dataclass(frozen=True, slots=True)
class Blocklist:
    """Images that are shown to nobody: these ids, and all images of these sources."""

    ids: frozenset[int] = frozenset()
    sources: frozenset[str] = frozenset()

    def has(self, image: Image) -> bool:
        """Return whether an image is blocked."""
        return image.id in self.ids or image.source in self.sources


@dataclass(frozen=True, slots=True)
class Filter:
    """Restrictions on the results. The vector store applies them inside the search, not afterwards.

    Public images always pass. Private images pass only if they belong to ``owner``. An empty ``owner`` matches none.
    """

    owner: str = ""
    blocked_sources: frozenset[str] = frozenset()
    blocked_ids: frozenset[int] = frozenset()
    min_side: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """One rank of a ranking. ``near_duplicates`` are the ids folded into it, best first."""

    image_id: int
    score: float
    near_duplicates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One result: a ranked image with the fields needed to show it. ``rank`` counts from 1."""

    id: int
    score: float
    uri: str
    rank: int
    width: int
    height: int
    near_duplicates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The answer of a search. ``timings_ms`` has the keys decode, embed, ann and rank; all times are in milliseconds.

    ``rescore_ms`` is the part of ann that computed exact scores.
    """

    query_image_id: int
    results: tuple[Result, ...]
    latency_ms: float
    timings_ms: Mapping[str, float]
    release: str
    rescore_ms: float = 0.0
    variants: Mapping[str, str] = field(default_factory=dict)
    """Which variant of each experiment answered."""
    suggested_min_score: float | None = None
    """The score that few unrelated pictures reach in this release; None if it is not known."""
