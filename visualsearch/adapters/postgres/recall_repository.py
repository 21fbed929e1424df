"""What live queries were found to be answered like, by release, and the parameters that releases search with.

In Postgres, since any number of processes measure and anybody may ask.
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
    """Shares the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, release: str, recall: Recall) -> None:
        """Write down what queries came to; what is older than a day is forgotten."""
        await self._database.rows(
            """WITH gone AS (DELETE FROM recall_samples WHERE at < now() - interval '1 day')
            INSERT INTO recall_samples (release, hits, expected, queries) VALUES (%s, %s, %s, %s)""",
            *(release, recall.hits, recall.expected, recall.queries),
        )

    async def since(self, seconds: float) -> dict[str, Recall]:
        """Return the sums of the last seconds, by release; one that answered no sampled query is not there."""
        rows = await self._database.rows(
            """SELECT release, sum(hits)::bigint AS hits, sum(expected)::bigint AS expected,
            sum(queries)::bigint AS queries FROM recall_samples
            WHERE at > now() - make_interval(secs => %s) GROUP BY release ORDER BY release""",
            seconds,
        )
        return {row["release"]: Recall(row["hits"], row["expected"], row["queries"]) for row in rows}

    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        """Let a release be searched with other parameters from now on; raises ``NotFound``."""
        rows = await self._database.rows(
            "UPDATE releases SET search_params = %s WHERE name = %s RETURNING name", Jsonb(dict(search_params)), release
        )
        if not rows:
            raise NotFound(f"There is no release {release!r}; `visualsearch release list` names those there are.")
