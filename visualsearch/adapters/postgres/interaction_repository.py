"""Interactions and queries in Postgres. Each is written once, partitioned by day, and dropped when it is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.adapters.messages import encode_interaction
from visualsearch.domain.interactions import Click, Search, StoredQuery, WriteResult
from visualsearch.ports import InteractionRepository

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from visualsearch.adapters.postgres.database import Database
    from visualsearch.domain.interactions import Interaction

DAYS_AHEAD = 3
KEPT_BY_DAY = {"interactions": "ts", "queries": "asked_at", "spooled": "at"}
"""Tables that are partitioned by day, and their partition key."""

SEARCHES = """
WITH told AS (
  SELECT * FROM jsonb_to_recordset(%s::jsonb) AS told (
    id uuid, at timestamptz, query_image_id bigint, release text, shown bigint[], "user" bigint,
    picture boolean, box text, blob_key text, variants jsonb, owner text)
), new AS (
  INSERT INTO spooled (id, at) SELECT id, at FROM told ON CONFLICT DO NOTHING RETURNING id
), asked AS (
  INSERT INTO queries (id, release, user_id, box, blob_key, asked_at, owner)
  SELECT query_image_id, release, "user", box, blob_key, at, COALESCE(owner, '')
  FROM told JOIN new USING (id) WHERE picture
  ON CONFLICT DO NOTHING
), shown AS (
  INSERT INTO interactions (user_id, query_image_id, displayed_image_id, rank, type, ts, variants)
  SELECT "user", query_image_id, one.image_id, one.rank, 'impression', at, NULLIF(variants, '{}')
  FROM told JOIN new USING (id), unnest(shown) WITH ORDINALITY AS one (image_id, rank)
)
SELECT count(*) AS new, 0 AS unfounded FROM new
"""

CLICKS = """
WITH told AS (
  SELECT * FROM jsonb_to_recordset(%s::jsonb) AS told (
    id uuid, at timestamptz, query_image_id bigint, displayed_image_id bigint, rank int, "user" bigint, checked boolean,
    owner text)
), new AS (
  INSERT INTO spooled (id, at) SELECT id, at FROM told ON CONFLICT DO NOTHING RETURNING id
), clicked AS (
  INSERT INTO interactions (user_id, query_image_id, displayed_image_id, rank, type, ts, variants)
  SELECT "user", query_image_id, displayed_image_id, rank, 'click', at, (
    -- A click has the variants of its search: the user's own, where several have searched with the same image.
    SELECT variants FROM interactions AS shown
    WHERE shown.query_image_id = told.query_image_id AND shown.type = 'impression'
      AND shown.ts BETWEEN told.at - interval '1 day' AND told.at + interval '1 minute'
    ORDER BY shown.user_id IS NOT DISTINCT FROM told."user" DESC, shown.ts DESC LIMIT 1)
  FROM told JOIN new USING (id)
  WHERE checked OR (
    query_image_id BETWEEN 1 AND (SELECT last_value FROM images_id_seq)
    AND EXISTS (
      SELECT 1 FROM images WHERE images.id = displayed_image_id
      AND (COALESCE(told.owner, '') IN ('', images.owner) OR images.visibility = 'public'))
    AND (
      COALESCE(told.owner, '') = ''
      OR EXISTS (SELECT 1 FROM queries WHERE queries.id = told.query_image_id AND queries.owner = told.owner)
      OR EXISTS (
        SELECT 1 FROM images WHERE images.id = told.query_image_id
        AND (images.owner = told.owner OR images.visibility = 'public'))))
  RETURNING 1
)
SELECT count(*) AS new, count(*) - (SELECT count(*) FROM clicked) AS unfounded FROM new
"""


class PostgresInteractions(InteractionRepository):
    """The interaction repository, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def write(self, interactions: Sequence[Interaction]) -> WriteResult:
        searches = [one for one in interactions if isinstance(one, Search)]
        clicks = [one for one in interactions if isinstance(one, Click)]
        written = WriteResult()
        for statement, some in ((SEARCHES, searches), (CLICKS, clicks)):
            if some:
                rows = await self._database.rows(statement, f"[{','.join(map(encode_interaction, some))}]")
                written += WriteResult(rows[0]["new"], rows[0]["unfounded"])
        return written

    @override
    async def query(self, query_image_id: int) -> StoredQuery | None:
        rows = await self._database.rows(
            "SELECT owner, box, blob_key FROM queries WHERE id = %s LIMIT 1", query_image_id
        )
        return StoredQuery(**rows[0]) if rows else None

    @override
    async def keep(self, days: int) -> list[str]:
        today = datetime.now(UTC).date()
        dropped: list[str] = []
        for table, column in KEPT_BY_DAY.items():
            for ahead in range(DAYS_AHEAD + 1):
                await self._database.rows("SELECT add_day(%s, %s, %s)", table, column, today + timedelta(days=ahead))
            rows = await self._database.rows(
                "SELECT * FROM drop_days(%s, %s, %s) AS name", table, column, _first(today, days)
            )
            dropped += [row["name"] for row in rows]
        return dropped


def _first(today: date, days: int) -> date:
    """Return the first day that is kept."""
    return today - timedelta(days=days)
