"""Contract of the indexed folders' repository, tested with the fake and Postgres."""

import psycopg
import pytest

from tests.fakes.indexed_folder_repository import FakeIndexedFolders
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.indexed_folder_repository import PostgresIndexedFolders
from visualsearch.domain.indexed_folders import IndexedFolder

HERE, THERE = "file://host/here", "file://host/th%FFere?disk=1"


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def folders(request):
    if request.param == "fake":
        yield FakeIndexedFolders()
        return
    dsn, password = request.getfixturevalue("database")
    with psycopg.connect(dsn, password=password, autocommit=True) as server:
        server.execute("TRUNCATE indexed_folders")
    database = Database(dsn, password, 5.0)
    yield PostgresIndexedFolders(database)
    await database.close()


async def test_folders_are_returned_with_the_one_indexed_last_first(folders):
    one, other = IndexedFolder("one", HERE), IndexedFolder("öther/2", THERE, whole=False)
    assert await folders.all() == []
    for folder in (one, other, one):
        assert await folders.record(folder)
    assert await folders.all() == [one, other]


async def test_a_name_goes_to_another_place_only_if_that_is_said(folders):
    await folders.record(IndexedFolder("one", HERE))
    assert not await folders.record(IndexedFolder("one", THERE))
    assert not await folders.record(IndexedFolder("one", THERE), moved_from="file://host/elsewhere")
    assert await folders.record(IndexedFolder("one", THERE), moved_from=HERE)
    assert await folders.all() == [IndexedFolder("one", THERE)]


async def test_a_whole_folder_stays_whole(folders):
    for whole in (False, True, False):
        await folders.record(IndexedFolder("one", HERE, whole))
    assert await folders.all() == [IndexedFolder("one", HERE)]


async def test_several_folders_can_have_one_place(folders):
    for name in ("card A", "card B"):
        assert await folders.record(IndexedFolder(name, HERE))
    assert [one.name for one in await folders.all()] == ["card B", "card A"]
