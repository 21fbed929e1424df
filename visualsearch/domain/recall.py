"""Recall: the share of the true nearest neighbours that an approximate search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

TOP = 10
"""Recall is measured over the ten nearest (recall@10)."""
CANDIDATES = 200
"""Number of rows that are fetched and scored exactly (k') if a release's search parameters name none."""
THOROUGH_CANDIDATES = 1000
THOROUGH_EF = 2000
ALL_LISTS = 65_536
"""Highest nprobe that Milvus accepts. It searches every list."""
EQUAL = 1e-6
"""Cosines that differ by less are considered equal, so that tied pictures may replace each other."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Hits and expected hits, summed over queries."""

    hits: int = 0
    expected: int = 0
    queries: int = 0

    @property
    def value(self) -> float | None:
        """Recall from 0 to 1; None if nothing was expected."""
        return self.hits / self.expected if self.expected else None

    def __add__(self, other: Recall) -> Recall:
        return Recall(self.hits + other.hits, self.expected + other.expected, self.queries + other.queries)


def compared(found: NDArray[np.float32], exact: NDArray[np.float32]) -> Recall:
    """Return recall@10 of one query from the scores of its answer and of the exact answer, both best first.

    Compares scores, not ids, so that either of two rows that tie for the tenth place counts.
    """
    wanted = exact[:TOP]
    if not len(wanted):
        return Recall(queries=1)
    return Recall(int((found[:TOP] >= wanted[-1] - EQUAL).sum()), len(wanted), 1)


def thorough(search_params: Mapping[str, int]) -> dict[str, int]:
    """Return parameters that make a search in the same index nearly exact, at many times the cost.

    IVF: searches every list, with exact scores for five times the usual candidates. It misses only rows that their code
    ranks behind a thousand others. HNSW: keeps a list of 2,000 nearest instead of some hundred. It misses only rows
    that the graph cannot reach.
    """
    if "ef" in search_params:
        return {"ef": THOROUGH_EF}
    return {"nprobe": ALL_LISTS}
