"""What the worker does with outcomes, and that it outlives its servers."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import indexer.bulk
import indexer.worker
from indexer.bulk import index_folder
from indexer.sweeper import Sweeper
from indexer.worker import Worker
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE, Indexing
from visualsearch.domain import MAX_UPLOAD_BYTES, Event, EventKind, NewImage, Status
from visualsearch.errors import Unavailable
from visualsearch.releases import Releases


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(indexer.worker, "BLOCK_S", 0.01)
    monkeypatch.setattr(indexer.worker, "BEAT_EVERY_S", 0.01)
    monkeypatch.setattr(indexer.worker, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(indexer.worker, "MAX_PAUSE_S", 0.05)
    with ThreadPoolExecutor(2) as pool:
        world = Indexing(pool)
        await world.catalog.add_release(RELEASE, "live")
        yield world


def a_worker(world, beat=lambda: None, **values):
    values = {"batch": 4, "stale_after_s": 0.05, "max_deliveries": 3} | values
    return Worker("one", world.events, world.catalog, Releases(world.catalog), world.ingest, beat=beat, **values)


@contextlib.asynccontextmanager
async def working(world, **values):
    """A worker at work; it ends in peace at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(a_worker(world, **values).run(stop))
    yield task
    stop.set()
    await asyncio.wait_for(task, 5)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


def status(world, event):
    return world.catalog.images[event.image_id].status


def settled(world):
    return all(entry.acknowledged for entry in world.events.entries.values())


async def test_events_are_indexed_and_acknowledged(world):
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(10)]
    await world.events.publish(events)
    async with working(world):
        await until(lambda: settled(world))
    assert {status(world, event) for event in events} == {Status.INDEXED}
    assert not world.events.dead


async def test_a_rejected_picture_is_acknowledged_for_its_row_tells_why(world):
    await world.events.publish([await world.upload("a", b"no picture")])
    async with working(world):
        await until(lambda: settled(world))
    assert not world.events.dead


async def test_an_event_that_no_row_can_answer_for_is_buried_with_its_reason(world):
    await world.events.publish([Event(EventKind.CREATED, ""), Event(EventKind.CREATED, "s3://other/a", 5)])
    good = await world.upload("a", jpeg(1))
    await world.events.publish([good])
    async with working(world):
        await until(lambda: settled(world))
    assert status(world, good) is Status.INDEXED
    assert len(world.events.dead) == len(world.catalog.letters) == 2
    assert all(letter.reason for letter in world.events.dead.values())


@pytest.mark.parametrize("server", ["encoder", "vectors", "catalog", "blobs", "events"])
async def test_nothing_is_lost_while_a_server_is_away_for_however_many_deliveries(world, server):
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(6)]
    await world.events.publish(events)
    getattr(world, server).down = True
    beats = []
    async with working(world, beat=lambda: beats.append(1)):
        if server == "events":
            await asyncio.sleep(0.2)
        else:
            await until(lambda: max(entry.deliveries for entry in world.events.entries.values()) > 4)
        assert not any(entry.acknowledged for entry in world.events.entries.values())
        before = len(beats)
        await until(lambda: len(beats) > before)
        getattr(world, server).down = False
        await until(lambda: settled(world))
    assert {status(world, event) for event in events} == {Status.INDEXED}
    assert not world.events.dead


async def test_what_fails_for_ever_though_all_servers_work_is_given_up_on_visibly(world):
    def spoil(embeddings):
        raise RuntimeError("a bug")

    world.encoder.spoil = spoil
    event = await world.upload("a", jpeg(1))
    await world.events.publish([event])
    async with working(world):
        await until(lambda: settled(world))
    (letter,) = world.events.dead.values()
    assert (letter.event, letter.deliveries) == (event, 3)
    assert "a bug" in letter.reason
    assert [kept.reason for kept in world.catalog.letters.values()] == [letter.reason]
    assert status(world, event) is Status.REJECTED
    assert "a bug" in world.catalog.images[event.image_id].reason


async def test_a_worker_without_a_release_waits_for_one(world):
    world.catalog.release_rows.clear()
    await world.events.publish([await world.upload("a", jpeg(1))])
    async with working(world):
        await until(lambda: world.events.entries["1-0"].deliveries > 1)
        await world.catalog.add_release(RELEASE, "live")
        await until(lambda: settled(world))


async def test_a_worker_told_to_stop_finishes_what_it_has_in_hand(world):
    event = await world.upload("a", jpeg(1))
    await world.events.publish([event])
    async with working(world):
        await until(lambda: world.events.entries["1-0"].deliveries)
    assert status(world, event) is Status.INDEXED
    assert settled(world)


async def test_a_worker_that_is_cut_off_leaves_its_events_to_others(world):
    await world.events.publish([await world.upload("a", jpeg(1))])
    slow = asyncio.Event()
    world.blobs.get = lambda *_: slow.wait()
    task = asyncio.create_task(a_worker(world).run(asyncio.Event()))
    await until(lambda: world.events.entries["1-0"].deliveries)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not settled(world)
    del world.blobs.get
    async with working(world):
        await until(lambda: settled(world))


def a_sweeper(world, after_s=0.0):
    return Sweeper(world.events, world.catalog, world.vectors, world.blobs, Releases(world.catalog), after_s)


async def test_promises_that_the_stream_has_lost_are_put_on_it_again(world):
    event = await world.upload("a", jpeg(1))
    await a_sweeper(world, after_s=60).sweep()
    assert not world.events.entries
    await a_sweeper(world).sweep()
    assert [entry.event for entry in world.events.entries.values()] == [event]


async def test_unfinished_deletions_are_finished(world):
    event = await world.upload("a", jpeg(1))
    await world.ingest.batch([event], RELEASE)
    await world.catalog.forget(event.image_id)
    await a_sweeper(world).sweep()
    assert not world.vectors.searchable
    assert not world.blobs.objects
    assert await world.catalog.unfinished_forgetting(0, 10) == []


async def test_a_deletion_finished_late_keeps_the_object_of_a_new_image(world):
    event = await world.upload("a", jpeg(1))
    await world.catalog.forget(event.image_id)
    await world.upload("a", jpeg(2))
    await a_sweeper(world).sweep()
    assert "a" in world.blobs.objects


async def test_the_sweeper_outlives_its_servers(world, monkeypatch):
    monkeypatch.setattr("indexer.sweeper.EVERY_S", 0.01)
    event = await world.upload("a", jpeg(1))
    stop = asyncio.Event()
    world.catalog.down = True
    task = asyncio.create_task(a_sweeper(world).run(stop))
    await asyncio.sleep(0.05)
    world.catalog.down = False
    await until(lambda: event in [entry.event for entry in world.events.entries.values()])
    stop.set()
    await asyncio.wait_for(task, 5)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my pictures"
    (root / "sub").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.jpg").write_bytes(jpeg(9))
    (root / ".x.jpg").write_bytes(jpeg(9))
    (root / "a b.jpg").write_bytes(jpeg(1))
    (root / "sub" / "ü%.jpg").write_bytes(jpeg(2))
    return root


async def bulk(world, folder):
    told = []
    summary = await index_folder(
        folder,
        world.blobs,
        world.catalog,
        world.events,
        on_progress=lambda counts: told.append((counts.total, counts.indexed, counts.skipped, counts.rejected)),
    )
    return summary, told


async def test_a_folder_is_indexed_once_and_skipped_the_next_time(world, folder):
    async with working(world):
        first, told = await bulk(world, folder)
        again, _ = await bulk(world, folder)
    assert (first.indexed, first.skipped, first.rejected) == (2, 0, [])
    assert told[-1] == (2, 2, 0, 0)
    assert (again.indexed, again.skipped, again.rejected) == (0, 2, [])
    assert sorted(world.blobs.objects) == ["my pictures/a b.jpg", "my pictures/sub/ü%.jpg"]
    assert {image.source for image in world.catalog.images.values()} == {"my pictures"}


async def test_a_changed_file_is_indexed_again_under_its_id(world, folder):
    async with working(world):
        await bulk(world, folder)
        (folder / "a b.jpg").write_bytes(jpeg(3))
        summary, _ = await bulk(world, folder)
    assert (summary.indexed, summary.skipped) == (1, 1)
    assert len(world.catalog.images) == 2


async def test_what_cannot_be_indexed_is_listed_with_its_reason(world, folder):
    (folder / "text.jpg").write_text("no picture")
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "line\nbreak.jpg").write_bytes(jpeg(4))
    with (folder / "large.jpg").open("wb") as large:
        large.truncate(MAX_UPLOAD_BYTES + 1)
    async with working(world):
        summary, told = await bulk(world, folder)
    assert summary.indexed == 2
    reasons = {Path(path).name: reason for path, reason in summary.rejected}
    assert "not a JPEG" in reasons["text.jpg"]
    assert "No such file" in reasons["dangling.jpg"]
    assert "control characters" in reasons["line\nbreak.jpg"]
    assert "bytes" in reasons["large.jpg"]
    assert told[-1] == (6, 2, 0, 4)


async def test_a_single_file_is_indexed_under_its_folders_name(world, folder):
    async with working(world):
        summary, _ = await bulk(world, folder / "a b.jpg")
    assert summary.indexed == 1
    assert list(world.blobs.objects) == ["my pictures/a b.jpg"]


async def test_more_files_than_fit_a_chunk_are_all_indexed(world, folder, monkeypatch):
    monkeypatch.setattr(indexer.bulk, "CHUNK", 2)
    monkeypatch.setattr(indexer.bulk, "AHEAD", 1)
    for number in range(9):
        (folder / f"{number}.jpg").write_bytes(jpeg(10 + number))
    async with working(world):
        summary, _ = await bulk(world, folder)
    assert summary.indexed == 11


async def test_an_indexer_that_does_nothing_is_named(world, folder, monkeypatch):
    monkeypatch.setattr(indexer.bulk, "PATIENCE_S", 0.1)
    with pytest.raises(Unavailable, match="indexer"):
        await bulk(world, folder)


async def test_a_promise_is_kept_after_the_stream_was_lost(world):
    await world.blobs.put("a", jpeg(1))
    image = await world.catalog.promise(NewImage(world.blobs.uri("a")))
    await a_sweeper(world).sweep()
    async with working(world):
        await until(lambda: settled(world))
    assert world.catalog.images[image.id].status is Status.INDEXED
