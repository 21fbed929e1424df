"""A watched folder: which paths are told, and when."""

import asyncio

import pytest

from indexer.sources import folder_watch
from indexer.sources.folder_watch import FolderWatch
from tests.clock import StillClock


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(folder_watch, "QUIET_S", 0.3)
    monkeypatch.setattr(folder_watch, "LOOK_EVERY_S", 0.02)


async def told(watch, number):
    paths = set()
    async with asyncio.timeout(10):
        while len(paths) < number:
            paths |= {path.name for path in await watch.quiet_paths()}
    return paths


async def test_new_renamed_and_removed_files_are_told(tmp_path):
    (tmp_path / "old.jpg").write_text("x")
    (tmp_path / "gone.jpg").write_text("x")
    async with FolderWatch(tmp_path) as watch:
        (tmp_path / "old.jpg").rename(tmp_path / "new.jpg")
        (tmp_path / "gone.jpg").unlink()
        (tmp_path / "sub").mkdir()
        assert {"old.jpg", "new.jpg", "gone.jpg", "sub"} <= await told(watch, 4)
        (tmp_path / "sub" / "later.jpg").write_text("x")
        assert "later.jpg" in await told(watch, 1)


async def test_a_file_is_told_only_when_it_is_no_longer_written(tmp_path):
    clock, file = StillClock(), tmp_path / "slow.jpg"
    async with FolderWatch(tmp_path, clock) as watch:
        for _ in range(3):
            watch.put_back([file])
            clock.advance(0.8 * folder_watch.QUIET_S)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch.quiet_paths(), 0.1)
        clock.advance(0.3 * folder_watch.QUIET_S)
        assert await watch.quiet_paths() == [file]


async def test_what_is_written_into_an_open_file_is_told(tmp_path):
    with (tmp_path / "open.jpg").open("wb", buffering=0) as file:
        async with FolderWatch(tmp_path) as watch:
            file.write(b"part")
            assert await told(watch, 1) == {"open.jpg"}


async def test_linked_folders_are_watched_and_circles_do_no_harm(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "album" / "circle").symlink_to(tmp_path / "album")
    async with FolderWatch(tmp_path / "album") as watch:
        (tmp_path / "elsewhere" / "a.jpg").write_text("x")
        assert await told(watch, 1) == {"a.jpg"}


async def test_paths_that_are_put_back_are_told_again(tmp_path):
    async with FolderWatch(tmp_path) as watch:
        watch.put_back([tmp_path / "a.jpg"])
        assert await told(watch, 1) == {"a.jpg"}
