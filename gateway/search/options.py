"""What a caller asks of a search. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.search import NEAR_DUPLICATE_DISTANCE, Consistency

if TYPE_CHECKING:
    from visualsearch.domain.search import Filter, NearDuplicates


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a caller asks of a search: how many results, which images, and how they are folded."""

    k: int
    near_duplicates: NearDuplicates
    where: Filter
    left_out: int | None = None
    """An image that must not be among the results: the query itself."""
    consistency: Consistency = Consistency.BOUNDED
    user_id: int | None = None
    """Who asks."""
    near_duplicate_distance: int = NEAR_DUPLICATE_DISTANCE

    def sticky_key(self, picture: bytes) -> bytes:
        """Return the key that a release is chosen by: the user, or the picture where no user is named."""
        return picture if self.user_id is None else str(self.user_id).encode()
