"""Bulk indexing: pictures sent, skipped and reported."""

from pathlib import Path

import pytest

from indexer.sources import bulk as bulk_indexing
from indexer.sources import folder as folder_source
from indexer.sources.bulk import index_all
from indexer.sources.folder import Folder
from indexer.sources.picture_sources import Bucket
from tests.fakes.object_store import FakeObjectStore
from tests.pictures import jpeg
from tests.unit.indexing import working
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import MAX_UPLOAD_BYTES, NewImage, Visibility
from visualsearch.domain.indexing import ObjectMetadata


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
    summary = await index_all(
        Folder(folder),
        world.object_store,
        world.image_repository,
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
    assert sorted(world.object_store.objects) == ["my pictures/a b.jpg", "my pictures/sub/ü%.jpg"]
    assert {image.source for image in world.image_repository.images.values()} == {"my pictures"}


async def test_a_changed_file_is_indexed_again_under_its_id(world, folder):
    async with working(world):
        await bulk(world, folder)
        (folder / "a b.jpg").write_bytes(jpeg(3))
        summary, _ = await bulk(world, folder)
    assert (summary.indexed, summary.skipped) == (1, 1)
    assert len(world.image_repository.images) == 2


async def test_files_that_cannot_be_indexed_are_listed_with_the_reason(world, folder):
    (folder / "text.jpg").write_text("no picture")
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "empty.jpg").touch()
    (folder / "large.jpg").write_bytes(jpeg(5))
    with (folder / "large.jpg").open("ab") as large:
        large.truncate(MAX_UPLOAD_BYTES + 1)
    async with working(world):
        summary, told = await bulk(world, folder)
    assert summary.indexed == 2
    reasons = {Path(path).name: reason for path, reason in summary.rejected}
    assert "not a JPEG" in reasons["text.jpg"]
    assert "No such file" in reasons["dangling.jpg"]
    assert "empty" in reasons["empty.jpg"]
    assert "bytes" in reasons["large.jpg"]
    assert told[-1] == (6, 2, 0, 4)


async def test_a_single_file_is_indexed_under_its_folders_name(world, folder):
    async with working(world):
        summary, _ = await bulk(world, folder / "a b.jpg")
    assert summary.indexed == 1
    assert list(world.object_store.objects) == ["my pictures/a b.jpg"]


async def test_more_files_than_fit_a_page_or_a_chunk_are_all_indexed(world, folder, monkeypatch):
    monkeypatch.setattr(folder_source, "PAGE", 3)
    monkeypatch.setattr(bulk_indexing, "CHUNK", 2)
    monkeypatch.setattr(bulk_indexing, "MAX_WAITING", 1)
    for number in range(9):
        (folder / f"{number}.jpg").write_bytes(jpeg(10 + number))
    async with working(world):
        summary, _ = await bulk(world, folder)
    assert summary.indexed == 11


async def test_an_idle_indexer_is_reported(world, folder, monkeypatch):
    monkeypatch.setattr(bulk_indexing, "PATIENCE_S", 0.1)
    with pytest.raises(Unavailable, match="indexer"):
        await bulk(world, folder)


async def from_bucket(world, object_store, prefix=""):
    source = Bucket(object_store, prefix, world.object_store.bucket)
    return await index_all(
        source, world.object_store, world.image_repository, world.events, on_progress=lambda counts: None
    )


async def test_objects_of_the_own_bucket_are_indexed_in_place_and_skipped_the_next_time(world):
    for number, key in enumerate(["cats/a.jpg", "cats/b.jpg", "dogs/c.jpg"]):
        await world.object_store.put(key, jpeg(number))
    for key in ("queries/7", "uploads/8.jpg", ".hidden/9"):
        await world.object_store.put(key, jpeg(7))
    async with working(world):
        cats = await from_bucket(world, world.object_store, "cats/")
        everything = await from_bucket(world, world.object_store)
        again = await from_bucket(world, world.object_store)
    assert (cats.indexed, cats.skipped) == (2, 0)
    assert (everything.indexed, everything.skipped) == (1, 2)
    assert (again.indexed, again.skipped) == (0, 3)
    assert sorted(image.source for image in world.image_repository.images.values()) == ["cats", "cats", "dogs"]


async def test_objects_of_another_bucket_are_copied_under_its_name(world):
    other = FakeObjectStore("holiday")
    await other.put("2019/a.jpg", jpeg(1))
    await other.put("2019/text.jpg", b"no picture")
    async with working(world):
        first, again = [await from_bucket(world, other, "2019/") for _ in range(2)]
    assert first.indexed == 1
    assert [name for name, _ in first.rejected] == ["s3://holiday/2019/text.jpg"]
    assert sorted(world.object_store.objects) == ["holiday/2019/a.jpg"]
    assert (again.indexed, again.skipped) == (0, 1)


async def test_large_files_are_not_held_in_memory_together(world, folder, monkeypatch):
    monkeypatch.setattr(bulk_indexing, "CHUNK_BYTES", len(jpeg(1)) + 1)
    sent = []
    publish = world.events.publish

    async def count(events):
        sent.append(len(events))
        await publish(events)

    world.events.publish = count
    async with working(world):
        await bulk(world, folder)
    assert sent == [1, 1]


@pytest.mark.parametrize("name", ["queries", "Uploads"])
async def test_a_folder_that_is_called_like_one_of_the_gateways_own_is_indexed_elsewhere(world, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "7").write_bytes(jpeg(1))
    async with working(world):
        summary, _ = await bulk(world, tmp_path / name)
    assert (summary.indexed, summary.rejected) == (1, [])
    assert list(world.object_store.objects) == [f"folders/{name}/7"]


async def test_pictures_of_the_own_bucket_keep_the_owner_they_were_stored_with(world):
    metadata = ObjectMetadata("ada", Visibility.PRIVATE, "album")
    await world.object_store.put("cats/a.jpg", jpeg(1), metadata=metadata)
    async with working(world):
        await from_bucket(world, world.object_store)
    ((image,), (row,)) = world.image_repository.images.values(), world.vectors.written.values()
    for one in (image, row):
        assert (one.owner, one.visibility, one.source) == ("ada", Visibility.PRIVATE, "album")


async def test_a_private_picture_that_is_stored_again_stays_private_in_the_bucket(world, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    uri = world.object_store.uri("album/a.jpg")
    await world.image_repository.register(NewImage(uri, "album", "ada", Visibility.PRIVATE))
    async with working(world):
        await bulk(world, folder)
    assert await world.object_store.metadata("album/a.jpg") == ObjectMetadata("ada", Visibility.PRIVATE, "album")


def who(image):
    return image.owner, image.visibility, image.source


async def test_copies_of_another_buckets_pictures_keep_what_their_objects_say(world):
    other = FakeObjectStore("holiday")
    private = ObjectMetadata("ada", Visibility.PRIVATE, "album")
    await other.put("a.jpg", jpeg(1), metadata=private)
    await other.put("b.jpg", jpeg(2), metadata=ObjectMetadata("", Visibility.PUBLIC))
    async with working(world):
        summary = await from_bucket(world, other)
    assert summary.indexed == 2
    a, b = [await world.image_repository.by_uri(f"s3://images/holiday/{name}.jpg") for name in "ab"]
    assert who(a) == ("ada", Visibility.PRIVATE, "album")
    assert who(b) == ("", Visibility.PUBLIC, "holiday")
    assert who(world.vectors.written[a.id]) == who(a)
    assert await world.object_store.metadata("holiday/a.jpg") == private


async def test_uploads_of_another_bucket_are_private_and_its_query_pictures_are_left_out(world):
    other = FakeObjectStore("holiday")
    keys = ["uploads/1.jpg", "Uploads/2.jpg", "./uploads/3.jpg", "queries/4", "/Queries/5", "6.jpg"]
    for number, key in enumerate(keys):
        other.put_by_another_program(key, jpeg(number))
    await other.put("uploads/7.jpg", jpeg(7), metadata=ObjectMetadata("", Visibility.PUBLIC))
    async with working(world):
        await from_bucket(world, other)
    found = {
        image.uri.removeprefix("s3://images/"): image.visibility for image in world.image_repository.images.values()
    }
    assert found == {
        "holiday/uploads/1.jpg": Visibility.PRIVATE,
        "holiday/Uploads/2.jpg": Visibility.PRIVATE,
        "holiday/6.jpg": Visibility.PUBLIC,
        "holiday/uploads/7.jpg": Visibility.PUBLIC,
    }
    stored = await world.object_store.metadata("holiday/uploads/1.jpg")
    assert stored == ObjectMetadata("", Visibility.PRIVATE, "holiday")
