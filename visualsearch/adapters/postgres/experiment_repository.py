"""Definitions of experiments, in Postgres."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb
from typing_extensions import override

from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.experiments import Experiment, Variant
from visualsearch.ports import ExperimentRepository

if TYPE_CHECKING:
    from visualsearch.adapters.postgres.database import Database

COLUMNS = "name, layer, variants, share, expected_lift, state, first_bucket, end_bucket, started_at, stopped_at"


class PostgresExperiments(ExperimentRepository):
    """The experiment repository, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def create(self, experiment: Experiment) -> None:
        rows = await self._database.rows(
            """INSERT INTO experiments (name, layer, variants, share, expected_lift) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT DO NOTHING RETURNING name""",
            *(experiment.name, experiment.layer, Jsonb([asdict(one) for one in experiment.variants])),
            *(experiment.share, experiment.expected_lift),
        )
        if not rows:
            raise InvalidInput(f"There is or was an experiment {experiment.name} already: choose another name.")

    @override
    async def get(self, name: str) -> Experiment:
        rows = await self._database.rows(f"SELECT {COLUMNS} FROM experiments WHERE name = %s", name)  # noqa: S608
        if not rows:
            raise NotFound(f"There is no experiment {name}: GET /experiments lists them.")
        return _experiment(rows[0])

    @override
    async def everything(self) -> list[Experiment]:
        rows = await self._database.rows(f"SELECT {COLUMNS} FROM experiments ORDER BY created_at DESC, name")  # noqa: S608
        return [_experiment(row) for row in rows]

    @override
    async def running(self) -> list[Experiment]:
        rows = await self._database.rows(f"SELECT {COLUMNS} FROM experiments WHERE state = 'running' ORDER BY name")  # noqa: S608
        return [_experiment(row) for row in rows]

    @override
    async def start(self, name: str, first_bucket: int, end_bucket: int) -> bool:
        rows = await self._database.rows(
            "SELECT start_experiment(%s, %s, %s) AS started", name, first_bucket, end_bucket
        )
        started: bool = rows[0]["started"]
        return started

    @override
    async def stop(self, name: str) -> bool:
        rows = await self._database.rows(
            """UPDATE experiments SET state = 'stopped', stopped_at = now() WHERE name = %s AND state = 'running'
            RETURNING name""",
            name,
        )
        return bool(rows)


def _experiment(row: dict[str, Any]) -> Experiment:
    return Experiment(**{**row, "variants": tuple(Variant(**one) for one in row["variants"])})
