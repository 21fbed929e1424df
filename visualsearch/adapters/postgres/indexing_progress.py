"""Positions in change logs and the counts of reconciliations, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.ports import IndexingProgress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visualsearch.adapters.postgres.database import Database


class PostgresIndexingProgress(IndexingProgress):
    """Shares the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def position(self, log: str) -> int | None:
        rows = await self._database.rows("SELECT at_ns FROM positions WHERE log = %s", log)
        return rows[0]["at_ns"] if rows else None

    @override
    async def set_position(self, log: str, at_ns: int) -> None:
        await self._database.rows(
            "INSERT INTO positions VALUES (%s, %s) ON CONFLICT (log) DO UPDATE SET at_ns = excluded.at_ns", log, at_ns
        )

    @override
    async def record_differences(self, counts: Mapping[tuple[str, str], int]) -> None:
        columns = [[release for release, _ in counts], [kind for _, kind in counts], list(counts.values())]
        await self._database.rows(
            """WITH new AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS new (release, kind, number)),
            gone AS (
              DELETE FROM differences WHERE NOT EXISTS (
                SELECT 1 FROM new WHERE new.release = differences.release AND new.kind = differences.kind
              )
            )
            INSERT INTO differences (release, kind, number) SELECT * FROM new
            ON CONFLICT (release, kind) DO UPDATE SET number = excluded.number, counted_at = now()""",
            *columns,
        )

    @override
    async def differences(self) -> dict[tuple[str, str], int]:
        rows = await self._database.rows("SELECT release, kind, number FROM differences ORDER BY release, kind")
        return {(row["release"], row["kind"]): row["number"] for row in rows}
