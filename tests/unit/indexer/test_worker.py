"""The worker's handling of outcomes and of outages."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from indexer.pipeline.sweeper import Sweeper
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE, a_worker, settled, status, working
from visualsearch.domain.images import NewImage, Status
from visualsearch.domain.indexing import Event, EventKind
from visualsearch.domain.release_state import Job, ReleaseRecord
from visualsearch.domain.releases import ReleaseState
from visualsearch.image_deletion import ImageDeletion
from visualsearch.releases.active_releases import ActiveReleases


async def test_events_are_indexed_and_acknowledged(world):
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(10)]
    await world.events.publish(events)
    async with working(world):
        await eventually(lambda: settled(world))
    assert {status(world, event) for event in events} == {Status.INDEXED}
    assert not world.events.dead


async def test_a_rejected_picture_is_acknowledged_because_its_row_has_the_reason(world):
    await world.events.publish([await world.upload("a", b"no picture")])
    async with working(world):
        await eventually(lambda: settled(world))
    assert not world.events.dead


async def test_a_rejected_event_without_a_row_is_dead_lettered_with_its_reason(world):
    await world.events.publish([Event(EventKind.CREATED, ""), Event(EventKind.CREATED, "s3://other/a", 5)])
    good = await world.upload("a", jpeg(1))
    await world.events.publish([good])
    async with working(world):
        await eventually(lambda: settled(world))
    assert status(world, good) is Status.INDEXED
    assert len(world.events.dead) == len(world.dead_letter_archive.letters) == 2
    assert all(letter.reason for letter in world.events.dead.values())


@pytest.mark.parametrize("server", ["encoder", "vectors", "image_repository", "object_store", "events"])
async def test_no_event_is_lost_however_often_it_is_delivered_while_a_server_is_down(world, server):
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(6)]
    await world.events.publish(events)
    getattr(world, server).down = True
    beats = []
    async with working(world, beat=lambda: beats.append(1)):
        if server == "events":
            await eventually(lambda: world.events.refused > 4)
        else:
            await eventually(lambda: max(entry.deliveries for entry in world.events.entries.values()) > 4)
        assert not world.events.dead
        assert not any(entry.acknowledged for entry in world.events.entries.values())
        before = len(beats)
        await eventually(lambda: len(beats) > before)
        getattr(world, server).down = False
        await eventually(lambda: settled(world))
    assert {status(world, event) for event in events} == {Status.INDEXED}
    assert not world.events.dead


async def test_an_event_that_keeps_failing_while_all_servers_work_is_dead_lettered(world):
    def spoil(embeddings):
        raise RuntimeError("a bug")

    world.encoder.spoil = spoil
    event = await world.upload("a", jpeg(1))
    await world.events.publish([event])
    async with working(world):
        await eventually(lambda: settled(world))
    (letter,) = world.events.dead.values()
    assert letter.event == event
    # On a busy machine it comes again while the worker still holds it, and that delivery counts too.
    assert letter.deliveries >= 3
    assert "a bug" in letter.reason
    assert [kept.reason for kept in world.dead_letter_archive.letters.values()] == [letter.reason]
    assert status(world, event) is Status.REJECTED
    assert "a bug" in world.image_repository.images[event.image_id].reason


async def test_a_worker_without_a_release_waits_for_one(world):
    world.release_repository.by_name.clear()
    await world.events.publish([await world.upload("a", jpeg(1))])
    async with working(world):
        await eventually(lambda: world.events.entries["1-0"].deliveries > 1)
        await world.release_repository.add(RELEASE, ReleaseState.LIVE)
        await eventually(lambda: settled(world))


async def test_a_stopping_worker_finishes_its_batch(world):
    event = await world.upload("a", jpeg(1))
    await world.events.publish([event])
    async with working(world):
        await eventually(lambda: world.events.entries["1-0"].deliveries)
    assert status(world, event) is Status.INDEXED
    assert settled(world)


async def test_a_cancelled_worker_leaves_its_events_to_others(world):
    await world.events.publish([await world.upload("a", jpeg(1))])
    slow = asyncio.Event()
    world.object_store.fetch = lambda *_: slow.wait()
    task = asyncio.create_task(a_worker(world).run(asyncio.Event()))
    await eventually(lambda: world.events.entries["1-0"].deliveries)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not settled(world)
    del world.object_store.fetch
    async with working(world):
        await eventually(lambda: settled(world))


async def test_a_cancelled_worker_releases_its_events_at_once(world):
    await world.events.publish([await world.upload("a", jpeg(1))])
    slow = asyncio.Event()
    world.object_store.fetch = lambda *_: slow.wait()
    task = asyncio.create_task(a_worker(world, stale_after_s=3600).run(asyncio.Event()))
    await eventually(lambda: world.events.entries["1-0"].deliveries)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del world.object_store.fetch
    async with working(world, stale_after_s=3600):
        await eventually(lambda: settled(world))


class Killed(BaseException):
    """As sudden as the kernel's kill."""


async def test_an_event_that_kills_every_worker_is_dead_lettered_and_its_neighbours_are_not(world):
    good, killer = [await world.upload(name, jpeg(number)) for number, name in enumerate("ab")]
    await world.events.publish([good, killer])
    fetch = world.object_store.fetch

    async def fetch_or_die(key, max_bytes):
        if key == "b":
            raise Killed
        return await fetch(key, max_bytes)

    async def say_nothing(*_):
        """A killed process neither counts nor hands back."""

    world.object_store.fetch = fetch_or_die
    world.events.end_attempt = world.events.release = say_nothing
    for _ in range(3):
        with pytest.raises(Killed):
            await a_worker(world).run(asyncio.Event())
    async with working(world):
        await eventually(lambda: settled(world))
    assert status(world, good) is Status.INDEXED
    assert status(world, killer) is Status.REJECTED
    assert [letter.event for letter in world.events.dead.values()] == [killer]


def a_sweeper(world, after_s=0.0):
    return Sweeper(
        world.events,
        world.image_repository,
        ImageDeletion(world.image_repository, world.vectors, world.object_store),
        ActiveReleases(world.release_repository),
        after_s,
    )


async def test_events_of_pending_images_that_the_stream_lost_are_published_again(world):
    event = await world.upload("a", jpeg(1))
    await a_sweeper(world, after_s=60).sweep()
    assert not world.events.entries
    await a_sweeper(world).sweep()
    assert [entry.event for entry in world.events.entries.values()] == [event]


async def test_unfinished_deletions_are_completed(world):
    event = await world.upload("a", jpeg(1))
    await world.ingest.batch([event], [RELEASE])
    await world.image_repository.delete(event.image_id)
    await a_sweeper(world).sweep()
    assert not world.vectors.searchable
    assert not world.object_store.objects
    assert await world.image_repository.unfinished_deletions(0, 10) == []


async def test_a_deletion_finished_late_keeps_the_object_of_a_new_image(world):
    event = await world.upload("a", jpeg(1))
    await world.image_repository.delete(event.image_id)
    await world.upload("a", jpeg(2))
    await a_sweeper(world).sweep()
    assert "a" in world.object_store.objects


async def test_the_sweeper_survives_outages_of_its_servers(world, monkeypatch):
    monkeypatch.setattr("indexer.pipeline.sweeper.EVERY_S", 0.01)
    event = await world.upload("a", jpeg(1))
    stop = asyncio.Event()
    world.image_repository.down = True
    task = asyncio.create_task(a_sweeper(world).run(stop))
    await eventually(lambda: world.image_repository.refused)
    world.image_repository.down = False
    await eventually(lambda: event in [entry.event for entry in world.events.entries.values()])
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_an_upload_is_indexed_after_the_stream_was_lost(world):
    await world.object_store.put("a", jpeg(1))
    image = await world.image_repository.register(NewImage(world.object_store.uri("a")))
    await a_sweeper(world).sweep()
    async with working(world):
        await eventually(lambda: settled(world))
    assert world.image_repository.images[image.id].status is Status.INDEXED


async def test_a_release_whose_build_is_only_requested_is_not_written_to(world):
    asked_for = replace(RELEASE, name="v2", collection="images_v2")
    record = ReleaseRecord(asked_for, ReleaseState.BUILDING, datetime.now(UTC), job=Job.BUILD)
    await world.release_repository.put(record)
    event = await world.upload("a", jpeg(1))
    await world.events.publish([event])
    async with working(world):
        await eventually(lambda: settled(world))
    assert status(world, event) is Status.INDEXED
    assert "images_v2" not in world.vectors.rows
