"""`visualsearch index` on folders, from outside: names in the corpus, what is said, and what is removed."""

import os
import shutil
from io import StringIO

import pytest
from rich.console import Console

from cli.folder_indexing import FolderIndexing, FolderOptions
from cli.index_names import IndexNames
from indexer.sources import folder_location
from indexer.sources.bulk import index_all
from indexer.sources.folder import Folder
from indexer.sources.picture_sources import Bucket
from indexer.sources.pruning import Pruning
from tests.fakes.object_store import FakeObjectStore
from tests.pictures import jpeg
from tests.unit.indexing import working
from visualsearch.domain.errors import Conflict, InvalidInput


@pytest.fixture
def index(world):
    """Index a path with options; return what was printed. The indexer works meanwhile."""

    async def run(path, **options):
        console = Console(file=StringIO(), width=200)
        async with working(world):
            await FolderIndexing(world, console, FolderOptions(**{"yes": True} | options)).run(path)
        return console.file.getvalue()

    return run


@pytest.fixture
def keys(world):
    return lambda: sorted(world.object_store.objects)


def album(folder, *seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"{number}.jpg").write_bytes(jpeg(seed, 64, 64))
    return folder


# Names


async def test_two_folders_of_one_name_share_no_keys_and_keep_theirs(index, keys, tmp_path):
    phone, camera = album(tmp_path / "phone" / "2024", 1, 2), album(tmp_path / "camera" / "2024", 3)
    await index(phone)
    said = await index(camera)
    assert keys() == ["2024/0.jpg", "2024/1.jpg", "camera-2024/0.jpg"]
    assert "'camera-2024'" in said
    assert str(phone) in said
    for folder in (phone, camera):
        assert "0 indexed" in await index(folder)


async def test_the_third_folder_of_one_name_is_numbered(index, keys, tmp_path):
    for number, place in enumerate(("a/x", "b/x", "c/x")):
        await index(album(tmp_path / place / "DCIM", number))
    assert keys() == ["DCIM-2/0.jpg", "DCIM/0.jpg", "x-DCIM/0.jpg"]


async def test_names_that_look_the_same_are_the_same(index, keys, tmp_path):
    await index(album(tmp_path / "e\u0301te\u0301", 1))
    await index(album(tmp_path / "camera" / "\u00c9t\u00e9", 2))
    assert keys() == ["camera-\u00c9t\u00e9/0.jpg", "e\u0301te\u0301/0.jpg"]


@pytest.mark.parametrize("name", ["queries", "uploads", ".hidden", "folders"])
async def test_folders_named_like_our_own_prefixes_share_no_keys(index, keys, tmp_path, name):
    await index(album(tmp_path / name, 1))
    album(tmp_path / "x" / "folders" / name.replace(".", ""), 2)
    await index(tmp_path / "x" / "folders")
    assert len(keys()) == 2
    assert f"folders/{name}/0.jpg" in keys()


async def test_a_folder_reached_by_another_path_is_the_same(index, keys, tmp_path, monkeypatch):
    folder = album(tmp_path / "2024", 1, 2)
    await index(folder)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for path in (tmp_path / "link", tmp_path / "2024" / ".." / "2024", type(folder)()):
        assert "0 indexed, 2 unchanged" in await index(path)
    assert len(keys()) == 2


async def test_a_folder_that_was_moved_is_recognized_by_its_pictures(index, keys, tmp_path):
    await index(album(tmp_path / "old" / "2024", 1, 2, 3))
    (tmp_path / "new").mkdir()
    shutil.move(tmp_path / "old" / "2024", tmp_path / "new")
    (tmp_path / "new" / "2024" / "1.jpg").write_bytes(jpeg(9))
    said = await index(tmp_path / "new" / "2024")
    assert "1 indexed, 2 unchanged" in said
    assert str(tmp_path / "old" / "2024") in said
    assert keys() == ["2024/0.jpg", "2024/1.jpg", "2024/2.jpg"]


async def test_a_folder_that_was_renamed_is_recognized_by_its_pictures(index, keys, tmp_path):
    await index(album(tmp_path / "old", 1, 2, 3))
    (tmp_path / "old").rename(tmp_path / "new")
    assert "0 indexed, 3 unchanged" in await index(tmp_path / "new")
    assert keys() == ["old/0.jpg", "old/1.jpg", "old/2.jpg"]


async def test_who_indexes_a_folder_around_an_indexed_one_hears_that_pictures_are_twice(index, tmp_path):
    await index(album(tmp_path / "all" / "2024", 1))
    said = await index(album(tmp_path / "all", 2))
    assert "2 indexed" in said
    assert "images delete --prefix 2024/" in said


async def test_who_names_a_folder_anew_hears_that_pictures_are_twice(index, tmp_path):
    folder = album(tmp_path / "ph", 1)
    await index(folder)
    assert "images delete --prefix ph/" in await index(folder, name="holiday")


async def test_another_folder_at_the_place_of_one_that_is_gone_has_a_name_of_its_own(index, keys, tmp_path):
    card = album(tmp_path / "cardA" / "DCIM", 1, 2)
    await index(card)
    shutil.rmtree(card)
    await index(album(tmp_path / "cardB" / "DCIM", 3, 4))
    assert keys() == ["DCIM/0.jpg", "DCIM/1.jpg", "cardB-DCIM/0.jpg", "cardB-DCIM/1.jpg"]


async def test_cards_that_are_mounted_at_one_path_are_told_apart_by_their_disk(index, keys, tmp_path, monkeypatch):
    card = album(tmp_path / "DCIM", 1, 2)
    for disk, seeds in (("A", (1, 2)), ("B", (3, 4)), ("A", (1, 2))):
        monkeypatch.setattr(folder_location, "_disk", lambda _, disk=disk: disk)
        await index(album(card, *seeds))
    assert len(keys()) == 4


async def test_a_folder_of_another_machine_is_recognized_by_its_pictures(index, keys, tmp_path, monkeypatch):
    folder = album(tmp_path / "pictures", 1, 2)
    await index(folder)
    monkeypatch.setattr(folder_location.socket, "gethostname", lambda: "another")
    assert "0 indexed, 2 unchanged" in await index(folder)
    await index(album(folder, 3, 4))
    assert keys() == ["pictures/0.jpg", "pictures/1.jpg"]
    monkeypatch.setattr(folder_location.socket, "gethostname", lambda: "a third")
    await index(album(folder, 5, 6))
    assert len(keys()) == 4


async def test_a_folder_indexed_before_names_were_recorded_keeps_its_keys_and_ids(world, index, keys, tmp_path):
    folder, other = album(tmp_path / "a" / "2024", 1, 2), album(tmp_path / "b" / "2024", 3, 4)
    async with working(world):
        await index_all(
            Folder(folder), world.object_store, world.image_repository, world.events, on_progress=lambda _: None
        )
    before = set(world.image_repository.images)
    assert "1 indexed, 0 unchanged" not in await index(other)
    assert "0 indexed, 2 unchanged" in await index(folder)
    assert keys() == ["2024/0.jpg", "2024/1.jpg", "b-2024/0.jpg", "b-2024/1.jpg"]
    assert before <= set(world.image_repository.images)


async def test_a_folder_inside_an_indexed_one_is_a_part_of_it(index, keys, tmp_path):
    album(tmp_path / "all" / "2024", 1)
    await index(tmp_path / "all")
    album(tmp_path / "all" / "2024" / "may", 2)
    assert "1 indexed, 0 unchanged" in await index(tmp_path / "all" / "2024" / "may")
    assert "0 indexed, 1 unchanged" in await index(tmp_path / "all" / "2024" / "0.jpg")
    assert keys() == ["all/2024/0.jpg", "all/2024/may/0.jpg"]


async def test_a_single_file_does_not_claim_the_folders_beside_it(index, keys, tmp_path):
    home = album(tmp_path / "home", 1)
    await index(home / "0.jpg")
    await index(album(home / "2024", 2))
    assert keys() == ["2024/0.jpg", "home/0.jpg"]
    assert "1 indexed, 1 unchanged" in await index(home)


async def test_a_person_can_name_a_folder_and_no_other_gets_the_name(index, keys, tmp_path):
    one, other = album(tmp_path / "one", 1), album(tmp_path / "other", 2)
    await index(one, name="holiday")
    with pytest.raises(Conflict, match="one"):
        await index(other, name="holiday")
    shutil.move(one, tmp_path / "moved")
    assert "0 indexed, 1 unchanged" in await index(tmp_path / "moved", name="holiday")
    assert "0 indexed, 1 unchanged" in await index(tmp_path / "moved")
    assert keys() == ["holiday/0.jpg"]


@pytest.mark.parametrize("name", ["a/b", "..", ".x", "uploads", "queries", "folders", "a\\b", "a\nb", "x" * 101, " "])
async def test_an_unsuitable_name_is_refused(index, tmp_path, name):
    with pytest.raises(InvalidInput, match="no name"):
        await index(album(tmp_path / "one", 1), name=name)


async def index_bucket(world, bucket):
    async with working(world):
        source = Bucket(bucket, "", world.object_store.bucket)
        named = await IndexNames(world, Console(file=StringIO()), dry_run=False).named_bucket(source)
        return await index_all(
            named, world.object_store, world.image_repository, world.events, on_progress=lambda _: None
        )


async def test_a_bucket_and_a_folder_of_one_name_share_no_keys(world, index, keys, tmp_path):
    bucket = FakeObjectStore("holiday")
    await bucket.put("0.jpg", jpeg(1))
    await index(album(tmp_path / "holiday", 2))
    assert (await index_bucket(world, bucket)).indexed == 1
    assert keys() == ["holiday-bucket/0.jpg", "holiday/0.jpg"]
    assert (await index_bucket(world, bucket)).skipped == 1


async def test_a_bucket_copied_before_names_were_recorded_keeps_its_keys(world, index, keys, tmp_path):
    bucket = FakeObjectStore("holiday")
    await bucket.put("0.jpg", jpeg(1))
    async with working(world):
        source = Bucket(bucket, "", world.object_store.bucket)
        await index_all(source, world.object_store, world.image_repository, world.events, on_progress=lambda _: None)
    assert (await index_bucket(world, bucket)).skipped == 1
    await index(album(tmp_path / "holiday", 2))
    assert len(keys()) == 2
    assert "holiday/0.jpg" in keys()


# What is said


async def test_each_file_has_one_outcome_and_odd_names_are_shown_harmlessly(world, index, tmp_path):
    folder = album(tmp_path / "odd", 1)
    for name in ("a[/b].txt", "[bold]b[/bold].txt"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("x")
    (folder / "red\x1b[31m.jpg").write_bytes(jpeg(2))
    (folder / "line\nbreak.jpg").write_bytes(jpeg(3)[:500])
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg(4))
    for number in range(12):
        (folder / f"{number}.kind{number}").write_text("x")
    said = await index(folder)
    assert "3 indexed, 0 unchanged, 1 rejected" in said
    assert "14 files are no pictures: 2 .txt (such as" in said
    assert "of 3 other kinds" in said
    assert "red\\x1b[31m.jpg" in said
    assert "line\\nbreak.jpg" in said
    assert "caf\\xe9.jpg" in said
    assert not {"\x1b", "\udce9"}.intersection(said)
    assert len(world.image_repository.images) == 4


async def test_pictures_that_replace_others_are_counted(index, tmp_path):
    folder = album(tmp_path / "x", 1, 2)
    await index(folder)
    assert "1 file had other content" in await index(album(folder, 3))


async def test_a_picture_that_is_rejected_replaces_none(index, tmp_path):
    folder = album(tmp_path / "pictures", 1)
    await index(folder)
    (folder / "0.jpg").write_bytes(jpeg(1, 64, 64)[:500])
    said = await index(folder)
    assert "1 rejected" in said
    assert "other content" not in said


async def test_a_dry_run_compares_and_changes_nothing(world, index, keys, tmp_path):
    folder = album(tmp_path / "x", 1, 2)
    assert "2 would be indexed" in await index(folder, dry_run=True)
    assert (keys(), world.indexed_folders.folders, world.image_repository.images) == ([], {}, {})
    await index(folder)
    (folder / "0.jpg").unlink()
    album(folder / "more", 3)
    said = await index(folder, dry_run=True, prune=True)
    assert "1 would be indexed, 1 unchanged" in said
    assert "1 image would be removed" in said
    assert len(keys()) == 2


# Pruning


async def test_pruning_removes_what_is_gone_excluded_or_no_picture_and_says_so_first(world, index, keys, tmp_path):
    folder = album(tmp_path / "x", 1, 2, 3, 4)
    await index(folder)
    await index(album(tmp_path / "xx", 5))
    (folder / "0.jpg").unlink()
    (folder / "1.jpg").write_text("no picture now")
    (folder / "1.jpg").rename(folder / "1.txt")
    assert len(keys()) == 5
    said = await index(folder, prune=True, patterns=("3.jpg",))
    assert keys() == ["x/2.jpg", "xx/0.jpg"]
    assert said.index("s3://images/x/0.jpg") < said.index("3 images removed.")
    assert len(world.image_repository.images) == len(world.vectors.written) == 2
    ((act,)) = world.audit_log.kept.values()
    assert (act.subject, act.outcome) == ("3 images below x/", "done")


@pytest.mark.parametrize("content", [b"", b"<html>"], ids=["empty", "a web page"])
async def test_pruning_removes_what_was_a_picture_and_is_none_now(index, keys, tmp_path, content):
    folder = album(tmp_path / "pictures", 1, 2)
    await index(folder)
    (folder / "0.jpg").write_bytes(content)
    said = await index(folder, prune=True)
    assert "1 rejected" in said
    assert "1 image removed" in said
    assert keys() == ["pictures/1.jpg"]


async def test_an_image_below_several_removed_folders_is_removed_once(world, index, tmp_path):
    await index(album(tmp_path / "x" / "a" / "b", 1).parents[1])
    pruning = Pruning(world.object_store, world.image_repository, world.events)
    assert len(await pruning.gone(["x/a", "x/a/b", "x/a/b/0.jpg"], set())) == 1


async def test_pruning_spares_what_could_not_be_read(index, keys, tmp_path, monkeypatch):
    folder = album(tmp_path / "x", 1)
    album(folder / "locked", 2)
    await index(folder)
    scandir = os.scandir

    def refuse(path):
        if path == folder / "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    said = await index(folder, prune=True)
    assert "not entered" in said
    assert keys() == ["x/0.jpg", "x/locked/0.jpg"]


async def test_pruning_an_empty_folder_removes_nothing(index, keys, tmp_path):
    folder = album(tmp_path / "x", 1)
    await index(folder)
    (folder / "0.jpg").unlink()
    with pytest.raises(InvalidInput, match="disk"):
        await index(folder, prune=True)
    assert keys() == ["x/0.jpg"]


async def test_without_a_yes_nothing_is_removed(index, keys, tmp_path, monkeypatch):
    folder = album(tmp_path / "x", 1, 2)
    await index(folder)
    (folder / "0.jpg").unlink()
    monkeypatch.setattr("typer.confirm", lambda _: False)
    await index(folder, prune=True, yes=False)
    assert len(keys()) == 2


async def test_a_part_of_a_folder_is_pruned_alone(index, keys, tmp_path):
    folder = album(tmp_path / "x", 1, 2)
    album(folder / "sub", 3, 4)
    await index(folder)
    (folder / "0.jpg").unlink()
    (folder / "sub" / "0.jpg").unlink()
    await index(folder / "sub", prune=True)
    assert keys() == ["x/0.jpg", "x/1.jpg", "x/sub/1.jpg"]
