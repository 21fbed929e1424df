"""Changes of the object store reach the stream by its change log, or else by the sweep of the bucket."""

import asyncio
import contextlib

import pytest

from indexer.sources import change_feed_consumer
from indexer.sources.change_feed_consumer import BucketSweep, ChangeFeedConsumer
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.indexing import settled, working
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import Status
from visualsearch.domain.indexing import Change, EventKind


class Log:
    """A change log that tests write, and that goes away when told to."""

    def __init__(self):
        self.changes, self.since, self.away, self.refused = [], [], False, 0

    async def follow(self, since_ns):
        self.since.append(since_ns)
        told = 0
        while True:
            if self.away:
                self.refused += 1
                raise Unavailable("The filer")
            yield [change for change in self.changes[told:] if change.at_ns > since_ns]
            told = len(self.changes)
            await asyncio.sleep(0.005)

    async def close(self):
        pass


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(change_feed_consumer, "WAIT_S", 0.01)
    monkeypatch.setattr(change_feed_consumer, "REMEMBER_EVERY_S", 0.01)
    monkeypatch.setattr(change_feed_consumer, "LEASE_S", 0.1)
    return Log()


@contextlib.asynccontextmanager
async def following(world, log, name="one"):
    stop = asyncio.Event()
    task = asyncio.create_task(
        ChangeFeedConsumer(
            name, log, world.events, world.image_repository, world.object_store, world.indexing_progress
        ).run(stop)
    )
    yield task
    stop.set()
    await asyncio.wait_for(task, 5)


def told(world):
    return [(entry.event.kind, entry.event.uri) for entry in world.events.entries.values()]


def lease_requests(world):
    """Names that have asked for a lease, for each time that they did."""
    names, lease = [], world.events.lease

    async def noted(name, holder, seconds):
        granted = await lease(name, holder, seconds)
        names.append(holder)
        return granted

    world.events.lease = noted
    return names


async def put(world, log, key, data, at_ns):
    etag = await world.object_store.put(key, data)
    log.changes.append(Change(EventKind.CREATED, key, etag, at_ns))


async def test_pictures_written_to_the_bucket_are_indexed_and_those_removed_there_are_deleted(world, log):
    begin = 2**62
    async with following(world, log), working(world):
        await put(world, log, "cats/a b.jpg", jpeg(1), begin)
        await eventually(lambda: [i.status for i in world.image_repository.images.values()] == [Status.INDEXED])
        await world.object_store.delete("cats/a b.jpg")
        log.changes.append(Change(EventKind.DELETED, "cats/a b.jpg", "", begin + 1))
        await eventually(lambda: not world.image_repository.images)
    assert not world.vectors.searchable


async def test_uploads_by_the_gateway_cause_no_second_event(world, log):
    event = await world.upload("a.jpg", jpeg(1))
    await world.index(event)
    async with following(world, log):
        await put(world, log, "a.jpg", jpeg(1), 2**62)
        await put(world, log, "b.jpg", jpeg(2), 2**62 + 1)
        await eventually(lambda: told(world))
    assert told(world) == [(EventKind.CREATED, world.object_store.uri("b.jpg"))]


async def test_stored_queries_and_probes_cause_no_events(world, log):
    async with following(world, log):
        await put(world, log, "queries/7", jpeg(1), 2**62)
        await put(world, log, ".visualsearch/probe", b"probe", 2**62)
        await put(world, log, "a.jpg", jpeg(2), 2**62 + 1)
        await eventually(lambda: told(world))
    assert told(world) == [(EventKind.CREATED, world.object_store.uri("a.jpg"))]


async def test_a_key_that_cannot_be_stored_is_rejected_with_a_reason(world, log):
    async with following(world, log), working(world):
        log.changes.append(Change(EventKind.CREATED, "a\x01b.jpg", "", 2**62))
        await eventually(lambda: world.events.dead)
    (letter,) = world.events.dead.values()
    assert "control characters" in letter.reason


async def test_the_consumer_resumes_where_it_stopped(world, log):
    async with following(world, log):
        await put(world, log, "a.jpg", jpeg(1), 2**62)
        await eventually(lambda: world.indexing_progress.positions.get("bucket") == 2**62)
    async with following(world, log, "two"):
        await eventually(lambda: len(log.since) == 2)
    assert 0 < 2**62 - log.since[1] <= change_feed_consumer.OVERLAP_NS


@pytest.mark.parametrize("server", ["image_repository", "events"])
async def test_no_change_is_lost_while_a_server_is_down(world, log, server):
    async with following(world, log):
        await eventually(lambda: log.since)
        getattr(world, server).down = True
        await put(world, log, "a.jpg", jpeg(1), 2**62)
        await eventually(lambda: getattr(world, server).refused)
        getattr(world, server).down = False
        await eventually(lambda: told(world))


async def test_the_consumer_reconnects_to_the_store(world, log):
    async with following(world, log):
        await eventually(lambda: log.since)
        log.away = True
        await eventually(lambda: log.refused)
        log.away = False
        await put(world, log, "a.jpg", jpeg(1), 2**62)
        await eventually(lambda: told(world))


async def test_one_of_two_processes_consumes_the_feed_and_the_other_takes_over(world, log):
    asked = lease_requests(world)
    async with following(world, log, "two"):
        await eventually(lambda: log.since)
        async with following(world, log, "one"):
            await eventually(lambda: asked.count("one") > 2)
            assert len(log.since) == 1
    async with following(world, log, "three"):
        await eventually(lambda: len(log.since) == 2)


def a_sweep(world, every_s=60.0):
    return BucketSweep("one", world.events, world.image_repository, world.object_store, every_s)


async def test_the_sweep_finds_objects_without_an_event(world):
    known = await world.upload("known.jpg", jpeg(1))
    await world.index(known)
    await world.object_store.put("unknown.jpg", jpeg(2))
    await world.object_store.put("queries/7", jpeg(3))
    assert await a_sweep(world).sweep() == 1
    assert told(world) == [(EventKind.CREATED, world.object_store.uri("unknown.jpg"))]


async def test_the_sweep_finds_unreported_changes_once(world):
    await world.index(await world.upload("a.jpg", jpeg(1)))
    await world.object_store.put("a.jpg", jpeg(2))
    assert await a_sweep(world).sweep() == 1
    async with working(world):
        await eventually(lambda: settled(world))
    assert await a_sweep(world).sweep() == 0


async def test_the_sweep_reports_a_rejected_object_once(world):
    await world.object_store.put("text.jpg", b"no picture")
    assert await a_sweep(world).sweep() == 1
    async with working(world):
        await eventually(lambda: settled(world))
    assert await a_sweep(world).sweep() == 0


async def test_only_one_of_many_indexers_sweeps(world):
    asked = lease_requests(world)
    await world.object_store.put("a.jpg", jpeg(1))
    stop = asyncio.Event()
    sweeps = [
        BucketSweep(str(number), world.events, world.image_repository, world.object_store, 60.0) for number in range(3)
    ]
    tasks = [asyncio.create_task(sweep.run(stop)) for sweep in sweeps]
    await eventually(lambda: told(world) and set(asked) == {"0", "1", "2"})
    stop.set()
    await asyncio.gather(*tasks)
    assert len(told(world)) == 1
