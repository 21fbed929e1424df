"""`visualsearch index` on archives and tables, from outside: names in the corpus, and what is said."""

from io import StringIO

import pytest
from rich.console import Console

from cli.file_indexing import FileIndexing, holds_pictures
from cli.folder_indexing import FolderIndexing, FolderOptions
from tests.fakes.object_store import FakeObjectStore
from tests.pictures import jpeg
from tests.unit.indexer.test_archives import pack
from tests.unit.indexing import working
from visualsearch.domain.errors import InvalidInput


@pytest.fixture
def index(world):
    """Index files with options; return what was printed. The indexer works meanwhile."""

    async def run(*paths, **options):
        console = Console(file=StringIO(), width=200)
        async with working(world):
            await FileIndexing(world, console, FolderOptions(**options), FakeObjectStore).run(paths)
        return console.file.getvalue()

    return run


def keys(world):
    return sorted(world.object_store.objects)


def archive(folder, name, *seeds):
    folder.mkdir(parents=True, exist_ok=True)
    return pack(folder / name, {f"{number}.jpg": jpeg(seed) for number, seed in enumerate(seeds)})


async def test_two_archives_of_one_name_share_no_keys_and_keep_theirs(world, index, tmp_path):
    phone, camera = archive(tmp_path / "phone", "x.zip", 1, 2), archive(tmp_path / "camera", "x.zip", 3)
    await index(phone)
    said = await index(camera)
    assert keys(world) == ["camera-x.zip/0.jpg", "x.zip/0.jpg", "x.zip/1.jpg"]
    assert "'camera-x.zip'" in said
    for path in (phone, camera):
        assert "0 indexed" in await index(path)


async def test_an_archive_that_was_moved_keeps_its_keys(world, index, tmp_path):
    path = archive(tmp_path / "a", "x.tar", 1, 2)
    await index(path)
    (tmp_path / "b").mkdir()
    assert "0 indexed" in await index(path.rename(tmp_path / "b" / "x.tar"))


async def test_shards_are_indexed_together(world, index, tmp_path):
    shards = [archive(tmp_path, f"shard-00{number}.tar", number) for number in range(3)]
    said = await index(*shards)
    assert "3 indexed" in said
    assert keys(world) == [f"shard-00{number}.tar/0.jpg" for number in range(3)]
    assert "0 indexed" in await index(shards[1])


async def test_pruning_a_folder_leaves_what_came_out_of_its_archives(world, index, tmp_path):
    folder = tmp_path / "photos"
    path = archive(folder, "x.tar", 1)
    (folder / "a.jpg").write_bytes(jpeg(2))

    async def index_folder(**options):
        async with working(world):
            await FolderIndexing(world, Console(file=StringIO()), FolderOptions(yes=True, **options)).run(folder)

    await index_folder()
    await index(path)
    await index_folder(prune=True)
    assert keys(world) == ["photos/a.jpg", "x.tar/0.jpg"]


async def test_a_name_can_be_given_and_a_dry_run_does_nothing(world, index, tmp_path):
    path = archive(tmp_path, "x.zip", 1)
    assert "1" in await index(path, name="holiday", dry_run=True)
    assert keys(world) == []
    await index(path, name="holiday")
    assert keys(world) == ["holiday/0.jpg"]


async def test_a_table_is_indexed(world, index, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    (tmp_path / "t.csv").write_text("path,id\na.jpg,7\nnone.jpg,8\n")
    said = await index(tmp_path / "t.csv")
    assert "1 indexed" in said
    assert "No such file" in said
    assert keys(world) == ["t.csv/7.jpg"]


async def test_what_does_not_fit_together_is_refused(index, tmp_path):
    path = archive(tmp_path, "x.tar", 1)
    (tmp_path / "t.csv").write_text("path\n")
    for paths, options in (
        ([path], {"prune": True}),
        ([path], {"watch": True}),
        ([path, tmp_path / "t.csv"], {}),
        ([path, path], {"name": "x"}),
    ):
        with pytest.raises(InvalidInput):
            await index(*paths, **options)


def test_archives_and_tables_are_told_from_folders(tmp_path):
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "y.tar").touch()
    assert [holds_pictures(tmp_path / name) for name in ("x.tar", "y.tar", "none.zip")] == [False, True, False]
