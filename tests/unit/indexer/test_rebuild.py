"""A release is built from the stored objects while search and indexing continue."""

import asyncio

import pytest

from indexer.maintenance import rebuild as rebuilding
from indexer.maintenance.rebuild import Rebuild
from indexer.maintenance.reconcile import Reconcile
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE, settled, working
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import EventKind
from visualsearch.domain.releases import Release, ReleaseState
from visualsearch.releases.lifecycle import Lifecycle

NEW = Release("v1_other", 1, "f" * 64, "images_v1_other", "hnsw")


@pytest.fixture
async def corpus(world, monkeypatch):
    monkeypatch.setattr(rebuilding, "PAGE", 3)
    monkeypatch.setattr(rebuilding, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(rebuilding, "MAX_PAUSE_S", 0.02)
    monkeypatch.setattr("visualsearch.releases.active_releases.CACHE_S", 0.0)
    await world.index(*[await world.upload(f"{number}.jpg", jpeg(number)) for number in range(13)])
    return sorted(world.image_repository.images)


class ABuild(Rebuild):
    """A build whose release is written down first, as indexer.releases.release_build does."""

    async def run(self, release, **options):
        lifecycle = Lifecycle(self._release_repository, "tests")
        await lifecycle.begin(release)
        report = await super().run(release, **options)
        await lifecycle.ready(release.name)
        return report


def a_rebuild(world, told=lambda build: None):
    def reconcile():
        return Reconcile(
            world.object_store,
            world.image_repository,
            world.vectors,
            world.events,
            world.indexing_progress,
            rewrite=world.ingest.rewrite,
            pause_s=0,
        )

    return ABuild(world.image_repository, world.release_repository, world.vectors, world.ingest, reconcile, told)


def state(world, release=NEW):
    return world.release_repository.by_name[release.name].state


async def test_a_new_collection_holds_what_the_old_one_holds(world, corpus):
    told = []
    await a_rebuild(world, told.append).run(NEW, heard_after_s=0)
    assert sorted(world.vectors.rows[NEW.collection]) == corpus
    assert state(world) == ReleaseState.READY
    assert state(world, RELEASE) == ReleaseState.LIVE
    assert [build.done for build in told] == [6, 12, 13]
    assert {build.total for build in told} == {13}


async def test_new_changed_and_deleted_images_during_the_build_end_up_in_both(world, corpus):
    changed, deleted = corpus[1], corpus[2]
    kept = []

    async def meanwhile():
        """What happens behind the walk's back after its first page."""
        await world.object_store.put("1.jpg", jpeg(100))
        await world.object_store.delete("2.jpg")
        added = await world.upload("new.jpg", jpeg(101))
        kept.append(added.image_id)
        await world.events.publish([world.bare("1.jpg"), world.bare("2.jpg", EventKind.DELETED), added])
        await eventually(lambda: settled(world))

    async with working(world):
        tasks = []
        done = await a_rebuild(
            world, lambda build: tasks.append(asyncio.create_task(meanwhile())) if build.done == 6 else None
        ).run(NEW, heard_after_s=0.05)
        await asyncio.gather(*tasks)
    assert done.agrees
    live, new = world.vectors.rows[RELEASE.collection], world.vectors.rows[NEW.collection]
    assert set(new) == set(live) == {*corpus, *kept} - {deleted}
    assert new[changed].phash == live[changed].phash == world.image_repository.phashes[changed]


async def test_an_interrupted_build_resumes_where_it_stopped(world, corpus):
    def cut(build):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await a_rebuild(world, cut).run(NEW, heard_after_s=0)
    assert state(world) == ReleaseState.BUILDING
    world.encoder.batches.clear()
    await a_rebuild(world).run(NEW, heard_after_s=0)
    assert sum(world.encoder.batches) == len(corpus) - 6
    assert sorted(world.vectors.rows[NEW.collection]) == corpus


@pytest.mark.parametrize("server", ["encoder", "vectors", "image_repository", "object_store"])
async def test_a_build_waits_for_a_server_that_is_down(world, corpus, server):
    def trouble(build):
        if build.done == 6:
            getattr(world, server).down = True
            asyncio.get_running_loop().call_later(0.1, lambda: setattr(getattr(world, server), "down", False))

    await a_rebuild(world, trouble).run(NEW, heard_after_s=0)
    assert sorted(world.vectors.rows[NEW.collection]) == corpus


async def test_a_server_that_stays_down_ends_the_build_with_its_name(world, corpus, monkeypatch):
    monkeypatch.setattr(rebuilding, "PATIENCE_S", 0.05)
    world.encoder.down = True
    with pytest.raises(Unavailable, match="Triton"):
        await a_rebuild(world).run(NEW, heard_after_s=0)
    assert state(world) == ReleaseState.BUILDING


async def test_a_file_that_is_no_picture_any_more_does_not_stop_a_build(world, corpus):
    world.object_store.objects["4.jpg"] = b"no picture"
    with pytest.raises(Unavailable, match="still lacks"):
        await a_rebuild(world).run(NEW, heard_after_s=0)
    await world.index(world.bare("4.jpg"))
    await a_rebuild(world).run(NEW, heard_after_s=0)
    assert set(world.vectors.rows[NEW.collection]) == set(corpus) - {corpus[4]}
