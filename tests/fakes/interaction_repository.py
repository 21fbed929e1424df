"""Interactions and queries in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput, Unavailable
from visualsearch.domain.interactions import Click, Search, StoredQuery, WriteResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.interactions import Interaction

MAX_ID = 2**63 - 1


class FakeInteractions:
    """Tests can inspect the written rows. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self) -> None:
        self.down = False
        self.refused = 0
        self.interactions: dict[str, Interaction] = {}
        self.real: set[int] = set()
        """Ids of queries and images that unchecked clicks may refer to."""
        self.kept_days = 0

    def _up(self) -> None:
        if self.down:
            self.refused += 1
            raise Unavailable("Postgres")

    async def write(self, interactions: Sequence[Interaction]) -> WriteResult:
        self._up()
        if any(one.query_image_id > MAX_ID for one in interactions):
            raise InvalidInput("Postgres cannot store a value.")
        written = WriteResult()
        for one in interactions:
            if one.id in self.interactions:
                continue
            self.interactions[one.id] = one
            unfounded = isinstance(one, Click) and not one.checked and not self._is_founded(one)
            if unfounded:
                del self.interactions[one.id]
            written += WriteResult(1, int(unfounded))
        return written

    def _is_founded(self, click: Click) -> bool:
        if {click.query_image_id, click.displayed_image_id} <= self.real:
            return True
        mine = [search for search in self.searches if search.picture and search.owner == click.owner]
        return bool(click.owner) and {click.query_image_id} <= {search.query_image_id for search in mine}

    @property
    def searches(self) -> list[Search]:
        return [one for one in self.interactions.values() if isinstance(one, Search)]

    async def query(self, query_image_id: int) -> StoredQuery | None:
        self._up()
        kept = [one for one in self.searches if one.query_image_id == query_image_id and one.picture]
        return StoredQuery(kept[0].owner, kept[0].box, kept[0].blob_key) if kept else None

    async def keep(self, days: int) -> list[str]:
        self._up()
        self.kept_days = days
        return []
