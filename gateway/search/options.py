"""Options of a search. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.near_duplicates import NEAR_DUPLICATE_DISTANCE
from visualsearch.domain.search import MIN_SCORE, Consistency

if TYPE_CHECKING:
    from visualsearch.domain.search import Filter, NearDuplicates


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Options of a search: the number of results, the filter, and how near-duplicates are handled."""

    k: int
    near_duplicates: NearDuplicates
    where: Filter
    left_out: int | None = None
    """Id of an image to exclude from the results: the query itself."""
    consistency: Consistency = Consistency.BOUNDED
    user_id: int | None = None
    """The user who searches; None if unknown."""
    near_duplicate_distance: int = NEAR_DUPLICATE_DISTANCE
    min_score: float = MIN_SCORE
    """Lowest score of a result, and of a picture folded into one."""

    def sticky_key(self, picture: bytes) -> bytes:
        """Return the key that determines the release: the user, or the picture if no user is given."""
        return picture if self.user_id is None else str(self.user_id).encode()
