"""Postgres behind a connection pooler that gives each transaction another connection."""

import asyncio

import psycopg
import pytest

from tests.contract.test_image_repository import RELEASE
from tests.pgbouncer import pgbouncer
from tests.postgres import migrated_database
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.adapters.postgres.migrations import migrate
from visualsearch.adapters.postgres.release_repository import PostgresReleases
from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
from visualsearch.domain.images import NewImage, Quota
from visualsearch.domain.release_state import Action, Transition
from visualsearch.domain.releases import ReleaseState

pytestmark = pytest.mark.stack

TIMES = 20
"""The driver prepares a statement when it runs for the sixth time on a connection."""
CLIENTS = 3


@pytest.fixture(scope="module")
def pooled(stack, tmp_path_factory):
    """A database of the module's own behind the pooler: (dsn, password)."""
    with (
        migrated_database(stack) as (dsn, password),
        pgbouncer(dsn, password, tmp_path_factory.mktemp("pgbouncer")) as address,
    ):
        yield address, password


@pytest.fixture
async def databases(pooled):
    """Several processes, each with connections of its own."""
    opened = [Database(*pooled, timeout_s=10, connections=4) for _ in range(CLIENTS)]
    yield opened
    for one in opened:
        await one.close()


async def test_many_clients_run_the_same_statements_many_times(databases):
    async def use(client, database):
        images = PostgresImages(database)
        for turn in range(TIMES):
            new = NewImage(f"s3://images/{client}-{turn}.jpg", "tests", f"owner {client}")
            image = await images.register(new, Quota(images=1000))
            assert (await images.get(image.id)).uri == new.uri
            assert (await images.by_uri(new.uri)).id == image.id
            await images.mark_rejected(image.id, "damaged")
        return (await images.counts()).popitem()

    jobs = [use(f"{number}-{part}", one) for number, one in enumerate(databases) for part in range(4)]
    await asyncio.gather(*jobs)
    assert sum((await PostgresImages(databases[0]).counts()).values()) == CLIENTS * 4 * TIMES


async def test_changes_of_releases_exclude_each_other(databases):
    await PostgresReleases(databases[0]).add(RELEASE, ReleaseState.LIVE)
    inside = 0

    async def change(database):
        nonlocal inside
        async with PostgresReleases(database).switching() as releases:
            inside += 1
            assert inside == 1
            (record,) = await releases.records()
            await releases.put(record)
            await releases.record(Transition(record.since, RELEASE.name, "tests", Action.PROMOTE, "ready", "live"))
            inside -= 1

    for _ in range(TIMES // 2):
        await asyncio.gather(*map(change, databases))
    assert len(await PostgresReleases(databases[0]).history(RELEASE.name, 100)) == CLIENTS * TIMES // 2


async def test_a_snapshot_is_copied_out_and_back(pooled, databases):
    copy = PostgresTableCopy(*pooled)
    for _ in range(2):
        async with copy.snapshot() as snapshot, copy.restoring() as loader:
            tables = await snapshot.tables()
            rows = {name: [row async for row in snapshot.rows(name, tables[name])] for name in tables}
            assert set(rows) >= {"images", "releases"}
            assert loader is not None


def test_the_schema_is_migrated_through_the_pooler(pooled):
    for _ in range(8):
        migrate(*pooled)
    address, password = pooled
    with psycopg.connect(address, password=password, prepare_threshold=None) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


async def test_settings_of_one_client_do_not_reach_another(pooled, databases):
    await asyncio.gather(*(one.rows("SELECT pg_sleep(0.05)") for one in databases for _ in range(3)))
    address, password = pooled
    for _ in range(4):
        with psycopg.connect(address, password=password, autocommit=True) as connection:
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


async def test_a_statement_that_takes_too_long_is_ended_where_there_is_no_pooler(stack):
    database = Database(stack.postgres_dsn, stack.postgres_password.get_secret_value(), timeout_s=10)
    assert await database.rows("SHOW statement_timeout") == [{"statement_timeout": "30s"}]
    await database.close()
