"""Colours of images that were indexed before there were any, on fakes."""

import asyncio

import pytest

from indexer.maintenance import colour_backfill
from indexer.maintenance.colour_backfill import ColourBackfill
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import Serving
from visualsearch.imaging.preprocessing import prepare


@pytest.fixture
async def serving():
    """Three images, indexed without colours."""
    async with Serving() as serving:
        for seed in range(3):
            await serving.index(jpeg(seed), name=f"old/{seed}.jpg")
        serving.image_repository.colours = dict.fromkeys((1, 2, 3))
        yield serving


def backfill(serving):
    return ColourBackfill("one", serving.events, serving.image_repository, serving.object_store, serving.pool)


async def test_images_get_their_colours_page_by_page_and_then_nothing_is_left(serving, monkeypatch):
    monkeypatch.setattr(colour_backfill, "PAGE", 2)
    assert [await backfill(serving).fill() for _ in range(3)] == [2, 1, 0]
    assert serving.image_repository.colours == {seed + 1: prepare(jpeg(seed)).colours for seed in range(3)}


async def test_an_image_without_a_readable_object_is_looked_at_once(serving):
    await serving.object_store.delete("old/0.jpg")
    await serving.object_store.put("old/1.jpg", b"no picture")
    assert [await backfill(serving).fill() for _ in range(2)] == [3, 0]
    assert serving.image_repository.colours == {1: b"", 2: b"", 3: prepare(jpeg(2)).colours}


async def test_colours_that_an_indexer_wrote_meanwhile_stay(serving):
    read = serving.image_repository.without_colours

    async def raced(limit):
        images = await read(limit)
        serving.image_repository.colours[1] = prepare(jpeg(9)).colours
        return images

    serving.image_repository.without_colours = raced
    await backfill(serving).fill()
    assert serving.image_repository.colours[1] == prepare(jpeg(9)).colours


async def test_it_runs_until_it_is_stopped(serving):
    stop = asyncio.Event()
    running = asyncio.create_task(backfill(serving).run(stop))
    await eventually(lambda: None not in serving.image_repository.colours.values())
    stop.set()
    await running
