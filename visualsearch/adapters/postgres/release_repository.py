"""States and history of the releases, in Postgres.

A change is one transaction under one advisory lock. Concurrent changes are therefore serialized, and a command that is
killed has no effect.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg
from psycopg.types.json import Jsonb
from typing_extensions import override

from visualsearch.domain.errors import Conflict
from visualsearch.domain.near_duplicates import NEAR_DUPLICATE_COSINE as UNCALIBRATED
from visualsearch.domain.release_state import (
    Action,
    Canary,
    Check,
    Evaluation,
    Job,
    ReleaseRecord,
    Releases,
    Transition,
)
from visualsearch.domain.releases import Build, Release, ReleaseState
from visualsearch.domain.score_calibration import ScoreCalibration
from visualsearch.ports import ReleaseRepository, ReleaseTransaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from visualsearch.adapters.postgres.database import Database, Row

LOCK = 7_236_529_001
"""Key of the advisory lock: any number that nothing else in this database uses."""
LOCK_WAIT = "5s"
"""Timeout of the lock. A change takes milliseconds, so a longer wait means that the holder hangs."""


class PostgresReleases(ReleaseRepository):
    """The release repository, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    @asynccontextmanager
    async def switching(self) -> AsyncIterator[PostgresReleaseTransaction]:
        async with self._database.connection() as connection, connection.transaction():
            try:
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            except psycopg.errors.LockNotAvailable:
                raise Conflict("Another operator is changing a release. Try again shortly.") from None
            yield PostgresReleaseTransaction(connection)

    @override
    async def records(self) -> Releases:
        async with self._database.connection() as connection:
            return await PostgresReleaseTransaction(connection).records()

    @override
    async def add(self, release: Release, state: ReleaseState) -> None:
        await self._database.rows(
            """INSERT INTO releases
              (name, model_version, fingerprint, collection, profile, search_params, duplicate_cosine, state)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
            *(release.name, release.model_version, release.fingerprint, release.collection, release.profile),
            *(Jsonb(dict(release.search_params)), release.duplicate_cosine, state),
        )

    @override
    async def record_build(self, build: Build) -> None:
        await self._database.rows(
            "UPDATE releases SET built_to = %s, built = %s, to_build = %s WHERE name = %s",
            *(build.up_to, build.done, build.total, build.release),
        )

    @override
    async def record_calibration(self, release: str, calibration: ScoreCalibration) -> None:
        await self._database.rows("UPDATE releases SET calibration = %s WHERE name = %s", _json(calibration), release)

    @override
    async def builds(self) -> list[Build]:
        rows = await self._database.rows("SELECT * FROM releases WHERE state = 'building' ORDER BY name")
        return [Build(row["name"], row["built_to"], row["built"], row["to_build"]) for row in rows]

    @override
    async def clicks(self, seconds: float) -> dict[str, tuple[int, int]]:
        async with self._database.connection() as connection:
            rows = await connection.execute(
                """SELECT release, count(*) AS searches, count(clicked) AS clicked FROM queries
                LEFT JOIN (
                  SELECT DISTINCT query_image_id AS clicked FROM interactions
                  WHERE type = 'click' AND ts > now() - make_interval(secs => %(s)s)
                ) AS clicks ON clicked = id
                WHERE asked_at > now() - make_interval(secs => %(s)s) GROUP BY release""",
                {"s": seconds},
            )
            return {row["release"]: (row["searches"], row["clicked"]) for row in await rows.fetchall()}

    @override
    async def history(self, release: str | None, limit: int) -> list[Transition]:
        async with self._database.connection() as connection:
            rows = await connection.execute(
                """SELECT * FROM release_history WHERE release = COALESCE(%s, release) ORDER BY id DESC LIMIT %s""",
                [release, limit],
            )
            return [_transition(row) for row in await rows.fetchall()]


class PostgresReleaseTransaction(ReleaseTransaction):
    """The releases, on a connection that may hold the lock."""

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        self._connection = connection

    @override
    async def records(self) -> Releases:
        rows = await self._connection.execute("SELECT * FROM releases ORDER BY since DESC, name")
        return Releases([_record(row) for row in await rows.fetchall()])

    @override
    async def switches(self) -> list[Transition]:
        rows = await self._connection.execute("SELECT * FROM release_history WHERE replaced <> '' ORDER BY id")
        return [_transition(row) for row in await rows.fetchall()]

    @override
    async def put(self, standing: ReleaseRecord) -> None:
        release = standing.release
        await self._connection.execute(
            """INSERT INTO releases (name, model_version, fingerprint, collection, profile, search_params,
              duplicate_cosine, state, since, canary, shadow, job, evaluation, note)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (name) DO UPDATE SET state = excluded.state, since = excluded.since, canary = excluded.canary,
              shadow = excluded.shadow, job = excluded.job, evaluation = excluded.evaluation, note = excluded.note""",
            [
                *(release.name, release.model_version, release.fingerprint, release.collection, release.profile),
                *(Jsonb(dict(release.search_params)), release.duplicate_cosine, standing.state, standing.since),
                *(_json(standing.canary), standing.shadow, standing.job, _json(standing.evaluation), standing.note),
            ],
        )

    @override
    async def record(self, transition: Transition) -> None:
        await self._connection.execute(
            """INSERT INTO release_history
              (at, release, actor, action, from_state, to_state, reason, replaced, evaluation)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                *(transition.at, transition.release, transition.actor, transition.action, transition.from_state),
                *(transition.to_state, transition.reason, transition.replaced, _json(transition.evaluation)),
            ],
        )


def _json(thing: Canary | Evaluation | ScoreCalibration | None) -> Jsonb | None:
    if thing is None:
        return None
    return Jsonb(
        {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(thing).items()}
    )


def _record(row: Row) -> ReleaseRecord:
    names = ("name", "model_version", "fingerprint", "collection", "profile", "search_params")
    return ReleaseRecord(
        Release(
            **{name: row[name] for name in names},
            duplicate_cosine=row["duplicate_cosine"] or UNCALIBRATED,
            calibration=_calibration(row["calibration"]),
        ),
        ReleaseState(row["state"]),
        row["since"],
        _canary(row["canary"]),
        row["shadow"],
        Job(row["job"]),
        _evaluation(row["evaluation"]),
        row["note"],
    )


def _calibration(stored: Row | None) -> ScoreCalibration | None:
    return None if stored is None else ScoreCalibration(**stored | {"at": datetime.fromisoformat(stored["at"])})


def _canary(stored: Row | None) -> Canary | None:
    if stored is None:
        return None
    values = stored | {"steps": tuple(stored["steps"]), "since": datetime.fromisoformat(stored["since"])}
    return Canary(**values)


def _evaluation(stored: Row | None) -> Evaluation | None:
    if stored is None:
        return None
    checks = tuple(Check(**check) for check in stored["checks"])
    return Evaluation(datetime.fromisoformat(stored["at"]), stored["against"], checks)


def _transition(row: Row) -> Transition:
    names = ("at", "release", "actor", "from_state", "to_state", "reason", "replaced")
    values = {name: row[name] for name in names}
    return Transition(**values, action=Action(row["action"]), evaluation=_evaluation(row["evaluation"]))
