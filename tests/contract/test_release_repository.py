"""Contract of the release repository, tested with the fake and Postgres."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.fakes.image_repository import FakeImages
from tests.fakes.release_repository import FakeReleases
from tests.postgres import migrated_database
from tests.unit.releases import NEW, OLD, RAMP, verdict
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.release_repository import PostgresReleases
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.release_state import Action, Job, ReleaseRecord, Transition
from visualsearch.domain.releases import Build, ReleaseState
from visualsearch.domain.score_calibration import ScoreCalibration

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STANDING = ReleaseRecord(NEW, ReleaseState.READY, NOW, None, 2.5, Job.EVALUATE, verdict(), "why")


@asynccontextmanager
async def own_database(settings):
    """A database of its own, so that the stack's own releases stay out of it."""
    with migrated_database(settings) as (dsn, password):
        database = Database(dsn, password, 10.0)
        yield database
        await database.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def log(request):
    if request.param == "fake":
        yield FakeReleases(FakeImages())
        return
    async with own_database(request.getfixturevalue("stack")) as database:
        yield PostgresReleases(database)


async def put(log, *records):
    async with log.switching() as book:
        for one in records:
            await book.put(one)


async def test_a_written_record_is_read_back_unchanged(log):
    canary = ReleaseRecord(OLD, ReleaseState.CANARY, NOW, replace(RAMP, since=NOW, step=1))
    await put(log, STANDING, canary)
    assert {one.release.name: one for one in await log.records()} == {"v1": canary, "v2": STANDING}
    await put(log, replace(STANDING, state=ReleaseState.LIVE, job=Job.NONE, evaluation=None))
    assert next(one for one in await log.records() if one.release == NEW).state == ReleaseState.LIVE


async def test_a_release_keeps_the_cosine_of_its_near_duplicates(log):
    await put(log, replace(STANDING, release=replace(NEW, duplicate_cosine=0.61)))
    await log.add(replace(OLD, duplicate_cosine=0.72), ReleaseState.LIVE)
    assert {one.release.name: one.release.duplicate_cosine for one in await log.records()} == {"v1": 0.72, "v2": 0.61}


async def test_the_suggested_score_of_a_release_is_kept_when_its_state_changes(log):
    await put(log, STANDING)
    calibration = ScoreCalibration(0.62, 0.004, 0.001, 4_000_000, 3000, 100_000, NOW)
    await log.record_calibration("v2", calibration)
    await log.record_calibration("nothing", calibration)
    (record,) = await log.records()
    assert (record.release, record.release.calibration) == (NEW, calibration)
    await put(log, replace(record, state=ReleaseState.LIVE))
    (record,) = await log.records()
    assert (record.state, record.release.calibration) == (ReleaseState.LIVE, calibration)


async def test_the_history_is_read_newest_first_and_by_release(log):
    first = Transition(NOW, "v2", "ada", Action.PROMOTE, "ready", "live", "better", "v1", verdict())
    second = Transition(NOW, "v1", "bob", Action.RETIRE, "ready", "retired")
    async with log.switching() as book:
        await book.record(first)
        await book.record(second)
        assert await book.switches() == [first]
    assert await log.history(None, 10) == [second, first]
    assert await log.history("v2", 10) == [first]
    assert await log.history(None, 1) == [second]


async def test_an_error_rolls_the_whole_change_back(log):
    await put(log, STANDING)
    with pytest.raises(RuntimeError):
        await move_and_fail(log)
    assert await log.records() == (STANDING,)
    assert await log.history(None, 10) == []


async def test_concurrent_changes_are_serialized(log):
    order = []

    async def move(number):
        async with log.switching() as book:
            order.append(("in", number))
            await book.records()
            await asyncio.sleep(0.05)
            order.append(("out", number))

    await asyncio.gather(*map(move, range(3)))
    assert [what for what, _ in order] == ["in", "out"] * 3


@pytest.mark.stack
async def test_a_command_that_is_killed_during_a_change_has_no_effect(stack):
    async with own_database(stack) as database:
        log = PostgresReleases(database)
        await put(log, STANDING)
        begun = asyncio.Event()
        moving = asyncio.create_task(put_and_hang(log, begun))
        await begun.wait()
        async with database.connection() as connection:
            # What the server sees of a killed client: a connection that ends.
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
            )
        await put(log, replace(STANDING, note="somebody else, a moment later"))
        moving.cancel()
        with pytest.raises((asyncio.CancelledError, Unavailable)):
            await moving
        assert [one.state for one in await log.records()] == [ReleaseState.READY]


async def put_and_hang(log, begun):
    async with log.switching() as book:
        await book.put(replace(STANDING, state=ReleaseState.LIVE))
        begun.set()
        await asyncio.sleep(5)


async def move_and_fail(log):
    async with log.switching() as book:
        await book.put(replace(STANDING, state=ReleaseState.RETIRED))
        await book.record(Transition(NOW, "v2", "ada", Action.RETIRE, "ready", "retired"))
        raise RuntimeError


async def test_only_one_first_release_is_live_and_names_are_taken_once(log):
    await log.add(OLD, ReleaseState.LIVE)
    await log.add(OLD, ReleaseState.RETIRED)
    await log.add(NEW, ReleaseState.LIVE)
    assert [(one.release, one.state) for one in await log.records()] == [(OLD, ReleaseState.LIVE)]


async def test_the_progress_of_a_build_is_kept_until_its_release_leaves_building(log):
    await log.add(NEW, ReleaseState.BUILDING)
    assert await log.builds() == [Build(NEW.name, 0, 0, 0)]
    await log.record_build(Build(NEW.name, 40, 30, 100))
    assert await log.builds() == [Build(NEW.name, 40, 30, 100)]
    await put(log, replace(STANDING, state=ReleaseState.READY))
    assert await log.builds() == []
