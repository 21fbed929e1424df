"""`visualsearch index --watch`: a folder that lives on."""

import asyncio
import contextlib
from io import StringIO

import pytest
from rich.console import Console

from cli.folder_indexing import FolderIndexing, FolderOptions
from indexer.sources import folder_watch
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.indexing import working
from visualsearch.domain.errors import InvalidInput


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(folder_watch, "QUIET_S", 0.3)
    monkeypatch.setattr(folder_watch, "LOOK_EVERY_S", 0.02)


@pytest.fixture
def album(tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    (album / "a.jpg").write_bytes(jpeg(1, 64, 64))
    return album


@contextlib.asynccontextmanager
async def following(world, folder, **options):
    console = Console(file=StringIO(), width=200)
    indexing = FolderIndexing(world, console, FolderOptions(watch=True, yes=True, **options))
    async with working(world):
        task = asyncio.create_task(indexing.run(folder))
        await eventually(lambda: task.done() or "Watching" in console.file.getvalue())
        try:
            yield task, console
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, InvalidInput):
                await task


def keys(world):
    return {image.uri.removeprefix("s3://images/album/") for image in world.image_repository.images.values()}


async def test_new_changed_and_moved_in_pictures_are_indexed_and_others_stay(world, album, tmp_path):
    ready = tmp_path / "ready"
    (ready / "@eaDir").mkdir(parents=True)
    for name in ("d.jpg", "@eaDir/d.jpg"):
        (ready / name).write_bytes(jpeg(2, 64, 64))
    async with following(world, album):
        (album / "a.jpg").rename(album / "b.jpg")
        (album / "half.jpg.part").write_bytes(jpeg(3, 64, 64))
        ready.rename(album / "ready")
        await eventually(lambda: keys(world) == {"a.jpg", "b.jpg", "ready/d.jpg"})
        (album / "half.jpg.part").rename(album / "whole.jpg")
        await eventually(lambda: keys(world) == {"a.jpg", "b.jpg", "ready/d.jpg", "whole.jpg"})


async def test_with_pruning_what_is_gone_is_removed(world, album):
    (album / "sub").mkdir()
    for name in ("b.jpg", "sub/c.jpg"):
        (album / name).write_bytes(jpeg(2, 64, 64))
    async with following(world, album, prune=True):
        (album / "a.jpg").rename(album / "sub" / "a.jpg")
        await eventually(lambda: keys(world) == {"b.jpg", "sub/a.jpg", "sub/c.jpg"})
        (album / "sub").rename(album.parent / "away")
        await eventually(lambda: keys(world) == {"b.jpg"})


async def test_a_server_that_is_down_for_a_while_loses_no_change(world, album):
    async with following(world, album) as (_, console):
        world.image_repository.down = True
        (album / "b.jpg").write_bytes(jpeg(2, 64, 64))
        await eventually(lambda: "The changes wait." in console.file.getvalue())
        world.image_repository.down = False
        await eventually(lambda: keys(world) == {"a.jpg", "b.jpg"})


async def test_a_folder_that_disappears_ends_the_watch_and_keeps_its_images(world, album):
    async with following(world, album, prune=True) as (task, _):
        album.rename(album.parent / "unmounted")
        with pytest.raises(InvalidInput, match="is gone"):
            await asyncio.wait_for(task, 10)
    assert keys(world) == {"a.jpg"}


@pytest.mark.parametrize("options", [{"dry_run": True}])
async def test_options_that_make_no_sense_together_are_refused(world, album, options):
    with pytest.raises(InvalidInput):
        await FolderIndexing(world, Console(), FolderOptions(watch=True, **options)).run(album)
    with pytest.raises(InvalidInput, match="folders"):
        await FolderIndexing(world, Console(), FolderOptions(watch=True)).run(album / "a.jpg")
