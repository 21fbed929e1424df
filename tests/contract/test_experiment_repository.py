"""Contract of the experiment repository, tested with the fake and Postgres."""

import asyncio

import pytest

from tests.fakes.experiment_repository import FakeExperiments
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.experiment_repository import PostgresExperiments
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.experiments import Experiment, Variant

VARIANTS = (Variant("a"), Variant("b", 2, "v2", {"nprobe": 9}, 400, True, 4, 64))


def draft(name="one", layer="default"):
    return Experiment(name, layer, VARIANTS, 0.5, 0.1)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def experiment_repository(request):
    if request.param == "fake":
        yield FakeExperiments()
        return
    request.getfixturevalue("postgres_server")
    database = Database(*request.getfixturevalue("database"), 5.0)
    yield PostgresExperiments(database)
    await database.close()


async def test_a_defined_experiment_is_read_back_unchanged(experiment_repository):
    await experiment_repository.create(draft())
    assert await experiment_repository.get("one") == draft()
    with pytest.raises(NotFound):
        await experiment_repository.get("two")


async def test_the_name_of_an_experiment_is_never_reused(experiment_repository):
    await experiment_repository.create(draft())
    with pytest.raises(InvalidInput):
        await experiment_repository.create(draft())


async def test_an_experiment_runs_from_its_start_to_its_stop_and_never_again(experiment_repository):
    await experiment_repository.create(draft())
    assert not await experiment_repository.stop("one")
    assert await experiment_repository.start("one", 100, 200)
    (running,) = await experiment_repository.running()
    assert (running.state, running.first_bucket, running.end_bucket) == ("running", 100, 200)
    assert running.started_at is not None
    assert await experiment_repository.stop("one")
    assert await experiment_repository.running() == []
    assert not await experiment_repository.start("one", 100, 200)
    assert [one.state for one in await experiment_repository.everything()] == ["stopped"]


async def test_of_concurrent_starts_for_the_same_buckets_one_succeeds(experiment_repository):
    for name in ("one", "two", "three"):
        await experiment_repository.create(draft(name))
    await experiment_repository.create(draft("other", "elsewhere"))
    starts = (
        experiment_repository.start("one", 0, 10),
        experiment_repository.start("two", 5, 15),
        experiment_repository.start("three", 9, 12),
    )
    assert sum(await asyncio.gather(*starts)) == 1, "each two of them overlap"
    runs = sorted((one.first_bucket, one.end_bucket) for one in await experiment_repository.running())
    assert len(runs) == 1
    assert await experiment_repository.start("other", 0, 10)
