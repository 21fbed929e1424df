"""Recall: which share of the truly nearest an approximate search has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

TOP = 10
"""Recall is that of the ten nearest, recall@10."""
CANDIDATES = 200
"""k' where a release's search parameters name none: so many rows are fetched and scored exactly."""
THOROUGH_CANDIDATES = 1000
THOROUGH_EF = 2000
ALL_LISTS = 65_536
"""Milvus' highest nprobe, which is every list there is."""
EQUAL = 1e-6
"""Cosines that differ by less are the same: two pictures that tie may stand for each other."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found of what should have been, summed over queries."""

    hits: int = 0
    expected: int = 0
    queries: int = 0

    @property
    def value(self) -> float | None:
        """The share that was found, 0 to 1; None where nothing was expected."""
        return self.hits / self.expected if self.expected else None

    def __add__(self, other: Recall) -> Recall:
        return Recall(self.hits + other.hits, self.expected + other.expected, self.queries + other.queries)


def compared(found: NDArray[np.float32], exact: NDArray[np.float32]) -> Recall:
    """Compare the scores of one query's answer with those of the exact one, both best first: recall@10.

    Scores and not ids, so that of two rows that tie for the tenth place either will do.
    """
    wanted = exact[:TOP]
    if not len(wanted):
        return Recall(queries=1)
    return Recall(int((found[:TOP] >= wanted[-1] - EQUAL).sum()), len(wanted), 1)


def thorough(search_params: Mapping[str, int]) -> dict[str, int]:
    """Return search parameters that come near to an exact search in the same index, at many times the price.

    IVF: every list, and exact scores for five times the usual candidates; only what its code puts behind a thousand
    others is missed. HNSW: a list of 2,000 nearest instead of some hundred; only what the graph cannot reach is.
    """
    if "ef" in search_params:
        return {"ef": THOROUGH_EF}
    return {"nprobe": ALL_LISTS}
