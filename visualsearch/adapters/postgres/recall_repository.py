"""Recall samples of live queries by release, and the releases' search parameters, in Postgres.

They are in Postgres because several processes measure and any process may read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb
from typing_extensions import override

from visualsearch.domain.errors import NotFound
from visualsearch.domain.recall import Recall
from visualsearch.ports import RecallRepository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visualsearch.adapters.postgres.database import Database


class PostgresRecallSamples(RecallRepository):
    """The recall repository, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def record(self, release: str, recall: Recall) -> None:
        await self._database.rows(
            """WITH gone AS (DELETE FROM recall_samples WHERE at < now() - interval '1 day')
            INSERT INTO recall_samples (release, hits, expected, queries) VALUES (%s, %s, %s, %s)""",
            *(release, recall.hits, recall.expected, recall.queries),
        )

    @override
    async def since(self, seconds: float) -> dict[str, Recall]:
        rows = await self._database.rows(
            """SELECT release, sum(hits)::bigint AS hits, sum(expected)::bigint AS expected,
            sum(queries)::bigint AS queries FROM recall_samples
            WHERE at > now() - make_interval(secs => %s) GROUP BY release ORDER BY release""",
            seconds,
        )
        return {row["release"]: Recall(row["hits"], row["expected"], row["queries"]) for row in rows}

    @override
    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        rows = await self._database.rows(
            "UPDATE releases SET search_params = %s WHERE name = %s RETURNING name", Jsonb(dict(search_params)), release
        )
        if not rows:
            raise NotFound(f"There is no release {release!r}; `visualsearch release list` shows all releases.")
