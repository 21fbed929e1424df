"""Duplicate exclusions in Postgres: pairs of images that people marked as not duplicates. Part of the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from visualsearch.domain.images import Image, ImageSummary, Status, Visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.adapters.postgres.database import Database

Row = dict[str, Any]
COLUMNS = "id, uri, width, height, created_at, status, reason, source, owner, visibility, content_hash, etag"


class PostgresDuplicateExclusions:
    """The part of the catalog that stores which images are not near-duplicates, whatever their pHashes say."""

    database: Database

    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int]
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        """Return the candidates' duplicate exclusions and the wanted images that are indexed.

        Exclusions are pairs (lower id, higher id); images are by id. Uses one round trip, because a search waits for
        it.
        """
        rows = await self.database.rows(
            """SELECT id, uri, COALESCE(width, 0) AS width, COALESCE(height, 0) AS height,
              NULL::bigint AS low_id, NULL::bigint AS high_id
            FROM images WHERE id = ANY(%s::bigint[]) AND status = 'indexed'
            UNION ALL
            SELECT NULL, NULL, NULL, NULL, low_id, high_id
            FROM not_duplicates WHERE low_id = ANY(%s::bigint[]) AND high_id = ANY(%s::bigint[])""",
            *(_array(wanted), _array(candidates), _array(candidates)),
        )
        images: dict[int, ImageSummary] = {}
        pairs: set[tuple[int, int]] = set()
        for row in rows:
            if row["id"] is None:
                pairs.add((row["low_id"], row["high_id"]))
            else:
                images[row["id"]] = ImageSummary(row["uri"], row["width"], row["height"])
        return pairs, images

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        """Mark two images as not duplicates of each other; the first person who did stays recorded."""
        await self.database.rows(
            """INSERT INTO not_duplicates (low_id, high_id, marked_by)
            SELECT low.id, high.id, %s FROM images AS low, images AS high WHERE low.id = %s AND high.id = %s
            ON CONFLICT DO NOTHING""",
            *(by, min(one, other), max(one, other)),
        )

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        """Remove the mark of two images; return whether there was one."""
        rows = await self.database.rows(
            "DELETE FROM not_duplicates WHERE low_id = %s AND high_id = %s RETURNING low_id",
            *(min(one, other), max(one, other)),
        )
        return bool(rows)


def _array(ids: Sequence[int]) -> str:
    """Format an array for Postgres. The driver, which inspects every number, takes three times as long for 200."""
    return f"{{{','.join(map(str, ids))}}}"


def to_image(row: Row) -> Image:
    """Convert columns to an image."""
    return Image(**{**row, "status": Status(row["status"]), "visibility": Visibility(row["visibility"])})
