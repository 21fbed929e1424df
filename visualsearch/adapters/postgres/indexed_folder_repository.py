"""The folders that were indexed, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.domain.indexed_folders import IndexedFolder
from visualsearch.ports import IndexedFolderRepository

if TYPE_CHECKING:
    from visualsearch.adapters.postgres.database import Database


class PostgresIndexedFolders(IndexedFolderRepository):
    """Shares the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def all(self) -> list[IndexedFolder]:
        query = "SELECT name, location, whole FROM indexed_folders ORDER BY indexed_at DESC, name"
        return [IndexedFolder(**row) for row in await self._database.rows(query)]

    @override
    async def record(self, folder: IndexedFolder, moved_from: str = "") -> bool:
        rows = await self._database.rows(
            """INSERT INTO indexed_folders AS old (name, location, whole) VALUES (%s, %s, %s)
            ON CONFLICT (name) DO UPDATE SET
              location = excluded.location, whole = old.whole OR excluded.whole, indexed_at = clock_timestamp()
            WHERE old.location IN (excluded.location, %s) RETURNING name""",
            *(folder.name, folder.location, folder.whole, moved_from),
        )
        return bool(rows)
