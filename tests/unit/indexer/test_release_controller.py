"""One indexer performs the background jobs of releases, and another one resumes them."""

import asyncio
from types import SimpleNamespace

import pytest

from indexer.releases import release_controller
from indexer.releases.release_controller import ReleaseController
from tests.eventually import eventually
from tests.fakes.model_control import FakeModelControl
from tests.pictures import jpeg
from tests.unit.releases import NEW, verdict
from visualsearch.domain.release_state import Job
from visualsearch.releases import active_releases
from visualsearch.releases.lifecycle import Lifecycle


class StubGate:
    """Lets everything pass."""

    async def evaluate(self, release, lifecycle):
        await lifecycle.evaluated(release.name, verdict())


@pytest.fixture
async def shop(world, monkeypatch):
    monkeypatch.setattr(active_releases, "CACHE_S", 0.0)
    monkeypatch.setattr(release_controller, "TURN_S", 0.02)
    await world.index(*[await world.upload(f"{number}.jpg", jpeg(number)) for number in range(3)])
    world.models = FakeModelControl()
    world.lifecycle = Lifecycle(world.release_repository, "ada")
    return world


def a_caretaker(shop, name="one"):
    names = (
        "encoder",
        "vectors",
        "image_repository",
        "events",
        "object_store",
        "release_repository",
        "models",
        "indexing_progress",
    )
    stores = SimpleNamespace(**{each: getattr(shop, each) for each in names})
    return ReleaseController(name, stores, StubGate(), shop.pool)


async def during(shop, *caretakers, condition):
    stop = asyncio.Event()
    running = [asyncio.create_task(one.run(stop)) for one in caretakers]
    await eventually(condition)
    stop.set()
    await asyncio.gather(*running)


def state(shop, name="v2"):
    return shop.release_repository.by_name.get(name)


async def test_a_requested_build_is_made_and_evaluated_by_one_of_two_indexers(shop):
    await shop.lifecycle.begin(NEW, Job.BUILD)
    two = [a_caretaker(shop, "one"), a_caretaker(shop, "two")]
    await during(shop, *two, condition=lambda: state(shop).evaluation)
    assert sorted(shop.vectors.rows[NEW.collection]) == sorted(shop.image_repository.images)
    assert shop.models.loaded == {1, 2}
    assert (state(shop).state, state(shop).job) == ("ready", Job.NONE)
    actions = [one.action for one in await shop.release_repository.history("v2", 9)]
    assert actions.count("ready") == actions.count("evaluate") == 1


async def test_an_interrupted_build_is_resumed_by_the_next_indexer(shop):
    await shop.lifecycle.begin(NEW, Job.RESUME)
    await during(shop, a_caretaker(shop), condition=lambda: state(shop).evaluation)
    assert state(shop).state == "ready"


async def test_a_model_that_cannot_be_loaded_fails_the_build_with_the_reason(shop):
    shop.models.broken = {2}
    await shop.lifecycle.begin(NEW, Job.BUILD)
    await during(shop, a_caretaker(shop), condition=lambda: state(shop).state == "retired")
    assert "cannot load version" in state(shop).note


async def test_aliases_are_updated_during_a_build(shop, monkeypatch):
    hold = asyncio.Event()
    monkeypatch.setattr(release_controller, "build", lambda *_: hold.wait())
    await shop.lifecycle.begin(NEW, Job.BUILD)
    await during(shop, a_caretaker(shop), condition=lambda: "images_live" in shop.vectors.aliases)
    assert state(shop).job is Job.BUILD
