"""Duplicate exclusions in Postgres: pairs of images that people marked as not duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from visualsearch.domain.images import ImageSummary
from visualsearch.ports import DuplicateExclusions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.adapters.postgres.database import Database

Row = dict[str, Any]


class PostgresDuplicateExclusions(DuplicateExclusions):
    """Shares the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int], owner: str
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        rows = await self._database.rows(
            """SELECT id, uri, COALESCE(width, 0) AS width, COALESCE(height, 0) AS height,
              COALESCE(colours, '') AS colours, NULL::bigint AS low_id, NULL::bigint AS high_id
            FROM images LEFT JOIN image_hash ON image_id = id WHERE id = ANY(%s::bigint[]) AND status = 'indexed'
              AND (visibility = 'public' OR owner = NULLIF(%s, ''))
            UNION ALL
            SELECT NULL, NULL, NULL, NULL, NULL, low_id, high_id
            FROM not_duplicates WHERE low_id = ANY(%s::bigint[]) AND high_id = ANY(%s::bigint[])""",
            *(_array(wanted), owner, _array(candidates), _array(candidates)),
        )
        images: dict[int, ImageSummary] = {}
        pairs: set[tuple[int, int]] = set()
        for row in rows:
            if row["id"] is None:
                pairs.add((row["low_id"], row["high_id"]))
            else:
                images[row["id"]] = ImageSummary(row["uri"], row["width"], row["height"], row["colours"])
        return pairs, images

    @override
    async def all_pairs(self) -> set[tuple[int, int]]:
        rows = await self._database.rows("SELECT low_id, high_id FROM not_duplicates")
        return {(row["low_id"], row["high_id"]) for row in rows}

    @override
    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        await self._database.rows(
            """INSERT INTO not_duplicates (low_id, high_id, marked_by)
            SELECT low.id, high.id, %s FROM images AS low, images AS high WHERE low.id = %s AND high.id = %s
            ON CONFLICT DO NOTHING""",
            *(by, min(one, other), max(one, other)),
        )

    @override
    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        rows = await self._database.rows(
            "DELETE FROM not_duplicates WHERE low_id = %s AND high_id = %s RETURNING low_id",
            *(min(one, other), max(one, other)),
        )
        return bool(rows)


def _array(ids: Sequence[int]) -> str:
    """Format an array for Postgres. The driver, which inspects every number, takes three times as long for 200."""
    return f"{{{','.join(map(str, ids))}}}"
