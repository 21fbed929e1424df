"""The contract of experiments' definitions, kept by the fake and by Postgres alike."""

import asyncio
from itertools import pairwise

import pytest

from tests.contract.test_journal import database, server  # noqa: F401 - fixtures
from tests.fakes.trials import FakeTrials
from visualsearch.catalog import PostgresCatalog
from visualsearch.errors import InvalidInput, NotFound
from visualsearch.experiments import Experiment, Variant
from visualsearch.trials import PostgresTrials

VARIANTS = (Variant("a"), Variant("b", 2, "v2", {"nprobe": 9}, 400, True, 4, 64))


def draft(name="one", layer="default"):
    return Experiment(name, layer, VARIANTS, 0.5, 0.1)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def trials(request):
    if request.param == "fake":
        yield FakeTrials()
        return
    request.getfixturevalue("server").execute("TRUNCATE experiments")
    catalog = PostgresCatalog(*request.getfixturevalue("database"), 5.0)
    yield PostgresTrials(catalog.rows)
    await catalog.close()


async def test_what_is_defined_is_there_as_it_was_defined(trials):
    await trials.create(draft())
    assert await trials.get("one") == draft()
    with pytest.raises(NotFound):
        await trials.get("two")


async def test_a_name_is_taken_for_ever(trials):
    await trials.create(draft())
    with pytest.raises(InvalidInput):
        await trials.create(draft())


async def test_an_experiment_runs_from_its_start_to_its_stop_and_never_again(trials):
    await trials.create(draft())
    assert not await trials.stop("one")
    assert await trials.start("one", 100, 200)
    (running,) = await trials.running()
    assert (running.state, running.first_bucket, running.end_bucket) == ("running", 100, 200)
    assert running.started_at is not None
    assert await trials.stop("one")
    assert await trials.running() == []
    assert not await trials.start("one", 100, 200)
    assert [one.state for one in await trials.everything()] == ["stopped"]


async def test_of_those_that_want_the_same_buckets_at_once_one_starts(trials):
    for name in ("one", "two", "three"):
        await trials.create(draft(name))
    await trials.create(draft("other", "elsewhere"))
    starts = (trials.start("one", 0, 10), trials.start("two", 5, 15), trials.start("three", 9, 12))
    assert sum(await asyncio.gather(*starts)) in {1, 2}
    runs = sorted((one.first_bucket, one.end_bucket) for one in await trials.running())
    assert all(before[1] <= after[0] for before, after in pairwise(runs))
    assert await trials.start("other", 0, 10)
