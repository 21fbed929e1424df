"""Recall samples of live queries by release, and the releases' search parameters, in Postgres.

They are in Postgres because several processes measure and any process may read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from visualsearch.domain.errors import NotFound
from visualsearch.domain.recall import Recall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visualsearch.adapters.postgres.database import Database


class PostgresRecallSamples:
    """The recall repository, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, release: str, recall: Recall) -> None:
        """Record the recall of sampled queries; delete samples older than a day."""
        await self._database.rows(
            """WITH gone AS (DELETE FROM recall_samples WHERE at < now() - interval '1 day')
            INSERT INTO recall_samples (release, hits, expected, queries) VALUES (%s, %s, %s, %s)""",
            *(release, recall.hits, recall.expected, recall.queries),
        )

    async def since(self, seconds: float) -> dict[str, Recall]:
        """Return the sums of the last ``seconds`` by release; releases without a sampled query are missing."""
        rows = await self._database.rows(
            """SELECT release, sum(hits)::bigint AS hits, sum(expected)::bigint AS expected,
            sum(queries)::bigint AS queries FROM recall_samples
            WHERE at > now() - make_interval(secs => %s) GROUP BY release ORDER BY release""",
            seconds,
        )
        return {row["release"]: Recall(row["hits"], row["expected"], row["queries"]) for row in rows}

    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        """Set the search parameters of a release; raises ``NotFound``."""
        rows = await self._database.rows(
            "UPDATE releases SET search_params = %s WHERE name = %s RETURNING name", Jsonb(dict(search_params)), release
        )
        if not rows:
            raise NotFound(f"There is no release {release!r}; `visualsearch release list` names those there are.")
