"""A folder as a source: which files it holds, under which keys, and what it leaves out."""

import os
import socket

import pytest

from indexer.sources import folder_walk
from indexer.sources.folder import Folder
from indexer.sources.picture_sources import NoPicture
from tests.pictures import jpeg
from visualsearch.domain.errors import InvalidInput, UnsupportedImage


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "album"
    root.mkdir()
    return root


def fill(root, *names):
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(1, 32, 32))


async def listed(folder):
    return [item async for page in folder.pages() for item in page]


async def names(folder):
    return [item.key.removeprefix(folder.prefix) for item in await listed(folder)]


async def test_what_nas_computers_and_packers_add_is_excluded_and_counted(root):
    fill(root, "a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB.jpg", "sub/@eaDir/b.jpg", "__MACOSX/._a.jpg", ".thumbnails/x.jpg")
    fill(root, "node_modules/lib/logo.png", "Thumbs.db", ".DS_Store", "sub/b.jpg", "b.jpg.part")
    folder = Folder(root)
    assert await names(folder) == ["a.jpg", "sub/b.jpg"]
    excluded = {"@eaDir/": 2, "__MACOSX/": 1, ".*": 2, "node_modules/": 1, "Thumbs.db": 1, "*.part": 1}
    assert folder.omissions.excluded == excluded


async def test_patterns_exclude_and_include_and_the_last_one_decides(root):
    fill(root, "a.jpg", "a.png", "drafts/b.jpg", ".hidden/c.jpg", ".hidden/.d.jpg")
    assert await names(Folder(root, patterns=["drafts/", "*.png"])) == ["a.jpg"]
    assert await names(Folder(root, patterns=["!.hidden/"])) == ["a.jpg", "a.png", ".hidden/c.jpg", "drafts/b.jpg"]
    assert await names(Folder(root, patterns=["*", "!*/", "!*.png"])) == ["a.png"]


async def test_ignore_files_hold_for_their_folder_and_those_below(root):
    fill(root, "a.jpg", "raw/a.jpg", "sub/raw/b.jpg", "sub/c.jpg", "sub/deep/c.jpg")
    (root / ".visualsearchignore").write_text("# nothing raw\nraw/\n/a.jpg\n")
    (root / "sub" / ".visualsearchignore").write_text("!raw/\nc.jpg\n")
    folder = Folder(root)
    assert await names(folder) == ["sub/raw/b.jpg"]
    assert folder.omissions.excluded["c.jpg"] == 2
    assert await names(Folder(root, patterns=["!c.jpg"])) == ["sub/c.jpg", "sub/deep/c.jpg", "sub/raw/b.jpg"]


async def test_a_malformed_ignore_file_is_named(root):
    fill(root, "a.jpg")
    (root / ".visualsearchignore").write_text("!\n")
    with pytest.raises(InvalidInput, match=r"\.visualsearchignore"):
        await listed(Folder(root))


async def test_linked_folders_are_entered_once_and_never_in_circles(root, tmp_path):
    fill(root, "a.jpg", "sub/b.jpg")
    fill(tmp_path / "elsewhere", "c.jpg", "deep/d.jpg")
    (root / "far").symlink_to(tmp_path / "elsewhere")
    (root / "far again").symlink_to(tmp_path / "elsewhere")
    (root / "sub" / "up").symlink_to(root)
    (root / "above").symlink_to(tmp_path)
    (root / "inside").symlink_to(root / "sub")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    folder = Folder(root)
    assert await names(folder) == ["a.jpg", "far/c.jpg", "far/deep/d.jpg", "sub/b.jpg"]
    reasons = {path.removeprefix(f"{root}/"): reason for path, reason in folder.omissions.folders}
    assert reasons.keys() == {"far again", "far/back", "far/round", "sub/up", "above", "inside"}
    assert "contains this one" in reasons["above"]
    assert "in this folder itself" in reasons["inside"]
    assert "another link" in reasons["far again"]


async def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_listed(root, monkeypatch):
    fill(root, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refuse(path):
        if path == root / "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_walk.os, "scandir", refuse)
    folder = Folder(root)
    assert await names(folder) == ["a.jpg"]
    assert folder.omissions.folders == [(str(root / "locked"), "It cannot be read: Permission denied.")]
    assert folder.omissions.unread == [root / "locked"]


async def test_what_is_no_regular_file_is_listed_and_refused_without_waiting(root):
    os.mkfifo(root / "pipe")
    (root / "circle.jpg").symlink_to("circle.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
        folder = Folder(root)
        for item in await listed(folder):
            with pytest.raises(InvalidInput, match=r"no regular file|cannot be read"):
                await folder.read(item)
    assert await names(folder) == ["circle.jpg", "pipe", "socket"]


async def test_files_are_told_by_their_first_bytes_and_refused_ones_by_their_name(root):
    contents = {"song.ogg": b"OggS" + bytes(100), "picture.ogg": jpeg(1), "text.jpg": b"no picture", "empty": b""}
    for name, data in contents.items():
        (root / name).write_bytes(data)
    folder = Folder(root)
    items = {item.key.removeprefix(folder.prefix): item for item in await listed(folder)}
    assert await folder.read(items["picture.ogg"]) == jpeg(1)
    for name in ("song.ogg", "empty"):
        with pytest.raises(NoPicture):
            await folder.read(items[name])
    with pytest.raises(UnsupportedImage):
        await folder.read(items["text.jpg"])


async def test_a_file_that_is_named_itself_is_neither_excluded_nor_passed_over_in_silence(root):
    (root / ".notes.txt").write_text("no picture")
    folder = Folder(root / ".notes.txt")
    (item,) = await listed(folder)
    with pytest.raises(InvalidInput) as refused:
        await folder.read(item)
    assert not isinstance(refused.value, NoPicture)


async def test_a_part_of_a_folder_has_the_keys_and_exclusions_of_the_whole(root):
    fill(root, "a.jpg", "sub/b.jpg", "sub/.c.jpg", ".hidden/deep/d.jpg", "sub/deep/e.jpg")
    folder = Folder(root, "other name/")
    part = folder.only([root / "sub", root / "sub" / "b.jpg", root / ".hidden" / "deep", root / "gone.jpg"])
    assert [item.key for item in await listed(part)] == ["other name/sub/b.jpg", "other name/sub/deep/e.jpg"]


@pytest.mark.parametrize("name", ["queries", "Uploads", ".hidden", "folders", "back\\slash"])
def test_no_folder_has_a_prefix_of_our_own(tmp_path, name):
    (tmp_path / name).mkdir()
    first, *_ = Folder(tmp_path / name).key(tmp_path / name / "a.jpg").split("/")
    assert first in {"folders", "back_slash~" + Folder(tmp_path / name).prefix[11:19]}
