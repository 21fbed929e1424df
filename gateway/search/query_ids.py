"""Ids of queries. Depends on no framework and no server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visualsearch.ports import ImageRepository

AT_ONCE = 64
"""Number of ids reserved at once, so that most searches need no call to Postgres."""


class QueryIds:
    """Allocates query ids from the sequence of the image ids, so that the two never collide."""

    def __init__(self, image_repository: ImageRepository) -> None:
        self._image_repository = image_repository
        self._reserved: deque[int] = deque()

    async def next(self) -> int:
        """Return an unused id; raises ``Unavailable``."""
        if not self._reserved:
            self._reserved.extend(await self._image_repository.allocate_query_ids(AT_ONCE))
        return self._reserved.popleft()
