"""Ids of queries. Knows no framework and no server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visualsearch.ports import ImageRepository

AT_ONCE = 64
"""Ids reserved at a time, so that most searches need no call for one."""


class QueryIds:
    """Hands out ids from the sequence of image ids, so that a query and an image never share one."""

    def __init__(self, image_repository: ImageRepository) -> None:
        self._image_repository = image_repository
        self._reserved: deque[int] = deque()

    async def next(self) -> int:
        """Return an unused id; raises ``Unavailable``."""
        if not self._reserved:
            self._reserved.extend(await self._image_repository.allocate_query_ids(AT_ONCE))
        return self._reserved.popleft()
