"""Contract of the recall repository, tested with the fake and Postgres."""

import uuid

import pytest

from tests.fakes.image_repository import FakeImages
from tests.fakes.recall_repository import FakeRecallSamples
from tests.fakes.release_repository import FakeReleases
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.recall_repository import PostgresRecallSamples
from visualsearch.adapters.postgres.release_repository import PostgresReleases
from visualsearch.domain.errors import NotFound
from visualsearch.domain.recall import Recall
from visualsearch.domain.releases import Release, ReleaseState


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def stores(request):
    if request.param == "fake":
        releases = FakeReleases(FakeImages())
        yield releases, FakeRecallSamples(releases)
        return
    settings = request.getfixturevalue("stack")
    database = Database(settings.postgres_dsn, settings.postgres_password.get_secret_value(), 10.0)
    yield PostgresReleases(database), PostgresRecallSamples(database)
    await database.close()


@pytest.fixture
def release():
    return f"recall_{uuid.uuid4().hex[:8]}"


async def test_samples_of_one_release_add_up(stores, release):
    _, log = stores
    await log.record(release, Recall(9, 10, 1))
    await log.record(release, Recall(10, 10, 1))
    await log.record(f"{release}_b", Recall(3, 5, 1))
    found = await log.since(60.0)
    assert found[release] == Recall(19, 20, 2)
    assert found[release].value == pytest.approx(0.95)
    assert found[f"{release}_b"] == Recall(3, 5, 1)


async def test_only_recent_samples_count(stores, release):
    _, log = stores
    await log.record(release, Recall(9, 10, 1))
    assert release not in await log.since(0.0)


async def test_changed_search_parameters_of_a_release_are_used_from_then_on(stores, release):
    releases, log = stores
    one = Release(release, 1, "f" * 64, f"images_{release}", "ivf_pq", {"nprobe": 64})
    await releases.add(one, ReleaseState.RETIRED)
    await log.search_with(release, {"nprobe": 32, "candidates": 400})
    found = {one.release.name: one.release for one in await releases.records()}[release]
    assert found.search_params == {"nprobe": 32, "candidates": 400}


async def test_setting_parameters_of_an_unknown_release_raises_not_found(stores, release):
    _, log = stores
    with pytest.raises(NotFound):
        await log.search_with(release, {"nprobe": 32})
