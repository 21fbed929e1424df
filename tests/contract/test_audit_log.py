"""Contract of the audit log, tested with the fake and Postgres."""

import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.fakes.audit_log import FakeAuditLog
from tests.fakes.image_repository import FakeImages
from tests.fakes.release_repository import FakeReleases
from tests.postgres import migrated_database
from visualsearch.adapters.postgres.audit_log import PostgresAuditLog
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.release_repository import PostgresReleases
from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
from visualsearch.audit import audited
from visualsearch.domain.audit import Action, AuditEntry
from visualsearch.domain.errors import NotFound
from visualsearch.domain.releases import Release
from visualsearch.releases.lifecycle import Lifecycle


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def stores(request):
    if request.param == "fake":
        images = FakeImages()
        releases = FakeReleases(images)
        yield FakeAuditLog(images, releases), releases
        return
    dsn, password = request.getfixturevalue("database")
    database = Database(dsn, password, 10.0)
    yield PostgresAuditLog(database), PostgresReleases(database)
    await database.close()


@pytest.fixture
def who():
    return f"ada-{uuid.uuid4().hex[:8]}"


def texts(entries):
    return [(one.action, one.subject, one.outcome) for one in entries]


async def test_an_act_is_recorded_with_its_outcome(stores, who):
    audit_log, _ = stores
    async with audited(audit_log, who, Action.DELETE_IMAGE, "image 1", "a request"):
        (begun,) = await audit_log.entries(actor=who)
        assert texts([begun]) == [("image.delete", "image 1", "")]
    with pytest.raises(NotFound):
        async with audited(audit_log, who, Action.DELETE_IMAGE, "image 2"):
            raise NotFound("There is no image 2.")
    with pytest.raises(ZeroDivisionError):
        async with audited(audit_log, who, Action.BACK_UP, "/backup"):
            raise ZeroDivisionError
    entries = await audit_log.entries(actor=who)
    assert texts(entries) == [
        ("stores.back-up", "/backup", "failed: ZeroDivisionError"),
        ("image.delete", "image 2", "failed: There is no image 2."),
        ("image.delete", "image 1", "done"),
    ]
    assert entries[-1].request_id == "a request"
    assert begun.id == entries[-1].id


async def test_entries_are_found_by_actor_time_action_and_noun(stores, who):
    audit_log, _ = stores
    now = datetime.now(UTC)
    for minutes, action in enumerate([Action.CREATE_KEY, Action.REVOKE_KEY, Action.DELETE_IMAGE]):
        entry = AuditEntry(actor=who, action=action, subject="x", at=now - timedelta(minutes=minutes))
        await audit_log.begin(entry)

    async def found(**words):
        return [one.action for one in await audit_log.entries(actor=who, **words)]

    assert await found() == ["key.create", "key.revoke", "image.delete"]
    assert await found(limit=1) == ["key.create"]
    assert await found(action="key.") == ["key.create", "key.revoke"]
    assert await found(action="key.revoke") == ["key.revoke"]
    assert await found(action="key") == []
    assert await found(since=now - timedelta(seconds=90)) == ["key.create", "key.revoke"]
    assert await audit_log.entries(actor=f"{who}x") == []


async def test_changes_of_releases_are_among_the_entries(stores, who):
    audit_log, releases = stores
    release = Release(who, 1, "f" * 64, f"images_{who[4:]}", "hnsw")
    await Lifecycle(releases, who).begin(release)
    await Lifecycle(releases, who).failed(release, "no disk")
    entries = await audit_log.entries(actor=who)
    assert texts(entries) == [("release.fail", who, "done: no disk"), ("release.begin", who, "done")]


async def test_only_old_entries_are_deleted(stores, who):
    audit_log, _ = stores
    for days in (1, 370, 500):
        at = datetime.now(UTC) - timedelta(days=days)
        await audit_log.begin(AuditEntry(actor=who, action=Action.CREATE_KEY, subject=str(days), at=at))
    assert await audit_log.keep(1) >= 2
    assert [one.subject for one in await audit_log.entries(actor=who)] == ["1"]


@pytest.mark.stack
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET actor = 'bob'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
async def test_the_database_refuses_to_change_or_delete_young_entries(database, statement):
    dsn, password = database
    with psycopg.connect(dsn, password=password, autocommit=True) as connection:
        connection.execute("INSERT INTO audit_log (id, actor) VALUES (gen_random_uuid(), 'ada')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.stack
async def test_a_restore_adds_the_entries_of_the_backup_to_those_that_are_there(stack, who):
    """It emptied the log, and with it the traces of whatever was done before."""
    with migrated_database(stack) as (dsn, password):
        database = Database(dsn, password, 10.0)
        audit_log, tables = PostgresAuditLog(database), PostgresTableCopy(dsn, password)
        async with audited(audit_log, who, Action.CREATE_KEY, "before the backup"):
            pass
        async with tables.snapshot() as snapshot:
            columns, sequences = await snapshot.tables(), await snapshot.sequences()
            dumped = {name: [data async for data in snapshot.rows(name, names)] for name, names in columns.items()}
        async with audited(audit_log, who, Action.RESTORE, "after it"):
            for _ in range(2):
                async with tables.restoring() as loader:
                    await loader.clear(columns)
                    for name, names in columns.items():
                        await loader.load(name, names, streamed(dumped[name]))
                    await loader.set_sequences(sequences)
        entries = [("stores.restore", "after it", "done"), ("key.create", "before the backup", "done")]
        assert texts(await audit_log.entries(actor=who)) == entries
        await database.close()


async def streamed(blocks):
    for block in blocks:
        yield block
