"""Vector collections in memory with exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.errors import ConfigurationError, NotFound, Unavailable
from visualsearch.domain.images import EMBEDDING_DIM, Visibility
from visualsearch.domain.search import Candidates, Filter, VectorRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from numpy.typing import NDArray

PAGE = 1000


class FakeVectors:
    """Rows are plain attributes, by collection and id. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self, *collections: str) -> None:
        self.down = False
        self.rows: dict[str, dict[int, VectorRow]] = {name: {} for name in collections}
        self.aliases: dict[str, str] = {}
        self.counts_asked: list[int] = []

    def _up(self) -> None:
        if self.down:
            raise Unavailable("Milvus")

    def _there(self, collection: str) -> dict[int, VectorRow]:
        self._up()
        name = self.aliases.get(collection, collection)
        if name not in self.rows:
            raise NotFound(f"Milvus knows no such collection: {collection}")
        return self.rows[name]

    def search_params(self, profile: str) -> dict[str, int]:
        if profile not in {"hnsw", "ivf_pq"}:
            raise ConfigurationError(f"There is no index profile {profile!r}.")
        return {}

    async def create(self, collection: str, profile: str) -> None:
        self._up()
        self.rows.setdefault(collection, {})

    async def drop(self, collection: str) -> None:
        self._up()
        self.rows.pop(collection, None)
        self.aliases = {alias: name for alias, name in self.aliases.items() if name != collection}

    async def seal(self, collection: str) -> None:
        self._there(collection)

    async def point_alias(self, alias: str, collection: str) -> None:
        self._there(collection)
        self.aliases[alias] = collection

    async def aliased(self) -> dict[str, str]:
        self._up()
        return dict(self.aliases)

    async def drop_alias(self, alias: str) -> None:
        self._up()
        self.aliases.pop(alias, None)

    async def nearest(
        self,
        collection: str,
        embedding: NDArray[np.float32],
        count: int,
        search_params: Mapping[str, int],
        where: Filter,
    ) -> Candidates:
        self.counts_asked.append(count)
        rows = [row for row in self._there(collection).values() if _passes(row, where)]
        scored = sorted(((-float(row.embedding @ embedding), row.image_id, row) for row in rows), key=lambda it: it[:2])
        best = scored[:count]
        return Candidates(
            np.array([row.image_id for *_, row in best], np.int64),
            np.clip(np.array([-score for score, *_ in best], np.float32), -1, 1),
            np.array([row.phash for *_, row in best], np.uint64),
            np.array([row.phash_mirrored for *_, row in best], np.uint64),
            len(best) < count,
            embeddings=np.array([row.embedding for *_, row in best], np.float32).reshape(len(best), EMBEDDING_DIM),
        )

    async def upsert(self, collection: str, rows: Sequence[VectorRow]) -> None:
        self._there(collection).update({row.image_id: row for row in rows})

    async def settle(self, collection: str) -> None:
        self._there(collection)

    async def delete(self, collection: str, image_ids: Sequence[int]) -> None:
        rows = self._there(collection)
        for image_id in image_ids:
            rows.pop(image_id, None)

    async def fetch(self, collection: str, image_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        rows = self._there(collection)
        return {image_id: rows[image_id].embedding for image_id in image_ids if image_id in rows}

    async def hashes(self, collection: str) -> AsyncIterator[list[tuple[int, int]]]:
        rows = sorted((image_id, row.phash) for image_id, row in self._there(collection).items())
        for begin in range(0, len(rows), PAGE):
            yield rows[begin : begin + PAGE]

    async def hashes_of(self, collection: str, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        rows = self._there(collection)
        return [(image_id, rows[image_id].phash) for image_id in image_ids if image_id in rows]

    async def page(self, collection: str, after: int, limit: int) -> list[VectorRow]:
        later = sorted(image_id for image_id in self._there(collection) if image_id > after)
        return [self._there(collection)[image_id] for image_id in later[:limit]]

    async def count(self, collection: str) -> int:
        return len(self._there(collection))

    async def collections(self) -> list[str]:
        self._up()
        return list(self.rows)

    async def check(self, collection: str) -> None:
        self._there(collection)

    async def close(self) -> None:
        """Do nothing."""


def _passes(row: VectorRow, where: Filter) -> bool:
    visible = row.visibility is Visibility.PUBLIC or bool(where.owner and row.owner == where.owner)
    blocked = row.source in where.blocked_sources or row.image_id in where.blocked_ids
    return visible and not blocked and row.min_side >= where.min_side
