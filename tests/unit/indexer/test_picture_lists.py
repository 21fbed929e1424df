"""Pictures that a CSV or Parquet file names."""

import csv

import pytest

from indexer import parquet
from indexer.sources.bulk import index_all
from indexer.sources.lists import source
from indexer.sources.lists.rows import is_list
from indexer.sources.lists.source import PictureList
from tests.fakes.object_store import FakeObjectStore
from tests.pictures import jpeg
from tests.unit.indexing import working
from visualsearch.domain.errors import InvalidInput, Unsupported
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Visibility
from visualsearch.domain.indexing import ObjectMetadata


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tables"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(jpeg(1))
    (folder / "sub" / "B.JPG").write_bytes(jpeg(2))
    (folder / "text.txt").write_text("no picture")
    (tmp_path / "outside.jpg").write_bytes(jpeg(3))
    return folder


def write(path, rows):
    """Write a table of rows, which all have the columns of the first."""
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


async def indexed(world, path, *buckets):
    named = {bucket.bucket: bucket for bucket in buckets}
    listed = PictureList(path, "set/", world.object_store.bucket, named.__getitem__)
    totals = []
    async with working(world):
        summary = await index_all(
            listed,
            world.object_store,
            world.image_repository,
            world.events,
            on_progress=lambda counts: totals.append((counts.total, counts.done)),
        )
    assert totals[-1][0] == totals[-1][1]  # every row has one outcome
    return summary


def images(world):
    found = world.image_repository.images.values()
    return {world.object_store.key(one.uri): (one.source, one.owner, one.visibility) for one in found}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
async def test_a_table_says_ids_sources_owners_and_visibility(world, folder, name):
    rows = [
        {"path": "a.jpg", "id": "17", "source": "shop", "visibility": "public", "owner": ""},
        {"path": "sub/B.JPG", "id": "x/18", "source": "", "visibility": "private", "owner": "ada"},
    ]
    path = write(folder / name, rows)
    first = await indexed(world, path)
    again = await indexed(world, path)
    assert (first.indexed, first.rejected, again.skipped) == (2, [], 2)
    assert images(world) == {
        "set/17.jpg": ("shop", "", Visibility.PUBLIC),
        "set/x/18.jpg": ("set", "ada", Visibility.PRIVATE),
    }
    assert await world.object_store.metadata("set/x/18.jpg") == ObjectMetadata("ada", Visibility.PRIVATE, "set")
    for row in world.vectors.written.values():
        assert (row.visibility is Visibility.PRIVATE) == (row.owner == "ada")


async def test_without_ids_a_key_is_the_path(world, folder):
    outside = folder.parent / "outside.jpg"
    rows = [{"path": name} for name in ("a.jpg", "./sub/B.JPG", "../outside.jpg", str(folder / "sub/../a.jpg"))]
    summary = await indexed(world, write(folder / "t.csv", rows))
    below = outside.as_posix().lstrip("/")
    assert sorted(images(world)) == sorted(["set/a.jpg", "set/sub/B.JPG", f"set/{below}"])
    assert [reason for _, reason in summary.rejected if "same key" in reason]


async def test_objects_are_named_by_their_uris_and_stay_where_they_are_in_the_corpus_bucket(world, folder):
    await world.object_store.put("cats/a.jpg", jpeg(5))
    await world.object_store.put("cats/mine.jpg", jpeg(6), metadata=ObjectMetadata("bob", Visibility.PRIVATE))
    other = FakeObjectStore("holiday")
    await other.put("2019/b.jpg", jpeg(7))
    uris = ["s3://images/cats/a.jpg", "s3://images/cats/mine.jpg", "s3://holiday/2019/b.jpg", "s3://holiday/none.jpg"]
    uris += ["s3://images/none.jpg", "s3://images/uploads/7.jpg", "s3://images/queries/7", "s3://images/a//b.jpg"]
    path = write(folder / "t.csv", [{"uri": uri, "source": "web", "visibility": "public"} for uri in uris])
    summary = await indexed(world, path, other)
    again = await indexed(world, path, other)
    assert (summary.indexed, again.skipped) == (3, 3)
    assert images(world) == {
        "cats/a.jpg": ("web", "", Visibility.PUBLIC),
        "cats/mine.jpg": ("web", "bob", Visibility.PRIVATE),
        "set/holiday/2019/b.jpg": ("web", "", Visibility.PUBLIC),
    }
    reasons = {name.rpartition(": ")[2]: reason for name, reason in summary.rejected}
    assert set(reasons) == set(uris[3:])
    assert "no such object" in reasons["s3://holiday/none.jpg"]
    assert "no such object" in reasons["s3://images/none.jpg"]
    assert "reserved for uploads" in reasons["s3://images/uploads/7.jpg"]
    assert "s3://holiday" not in str(world.object_store.objects)


async def test_rows_that_cannot_be_used_are_listed_with_their_number_and_reason(world, folder):
    with (folder / "large.jpg").open("wb") as large:
        large.truncate(MAX_UPLOAD_BYTES + 1)
    (folder / "pipe").mkdir()
    rows = [
        ("none.jpg", "1", "public", "No such file"),
        ("pipe", "2", "public", "no regular file"),
        ("https://example.org/a.jpg", "3", "public", "Only files"),
        ("", "4", "public", "empty"),
        ("a.jpg", "5", "secret", "neither public nor private"),
        ("a.jpg", "../6", "public", "no name for an object"),
        ("a.jpg", "7" * 201, "public", "characters"),
        ("large.jpg", "8", "public", "bytes"),
    ]
    path = write(folder / "t.csv", [{"path": a, "id": b, "visibility": c} for a, b, c, _ in rows])
    summary = await indexed(world, path)
    assert summary.indexed == 0
    found = sorted(summary.rejected, key=lambda one: int(one[0].split()[2].rstrip(":")))
    for (name, reason), (place, _, _, expected) in zip(found, rows, strict=True):
        assert place in name
        assert expected in reason


async def test_a_row_with_too_many_columns_is_refused_and_the_next_is_used(world, folder):
    (folder / "t.csv").write_text("\ufeffpath,source\r\na.jpg,web,more\r\nsub/B.JPG\r\n", encoding="utf-8")
    summary = await indexed(world, folder / "t.csv")
    assert summary.indexed == 1
    assert "more columns" in summary.rejected[0][1]


async def test_files_that_are_no_pictures_are_counted_apart(world, folder):
    summary = await indexed(world, write(folder / "t.csv", [{"path": "text.txt"}, {"path": "a.jpg"}]))
    assert (summary.indexed, summary.no_pictures.counts[".txt"]) == (1, 1)


async def test_more_rows_than_fit_a_page_are_all_indexed(world, folder, monkeypatch):
    monkeypatch.setattr(source, "PAGE", 2)
    for number in range(7):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    assert (await indexed(world, write(folder / "t.csv", [{"path": f"{n}.jpg"} for n in range(7)]))).indexed == 7


@pytest.mark.parametrize(
    "text", [b"name\na.jpg\n", b"path,uri\na,b\n", b"path,colour\na.jpg,red\n", b"\xff\xfe\x00", b'path\n"a.jpg\n']
)
async def test_a_table_of_another_form_is_refused(world, folder, text):
    (folder / "t.csv").write_bytes(text)
    with pytest.raises(InvalidInput):
        await indexed(world, folder / "t.csv")


async def test_a_damaged_parquet_file_is_refused(world, folder):
    (folder / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(InvalidInput, match="no Parquet file"):
        await indexed(world, folder / "t.parquet")


async def test_without_pyarrow_a_parquet_file_names_the_extra(world, folder, monkeypatch):
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"\[parquet\]"):
        await indexed(world, folder / "t.parquet")


def test_tables_are_told_by_their_names(tmp_path):
    assert [is_list(tmp_path / name) for name in ("a.CSV", "a.parquet", "a.csv.jpg")] == [True, True, False]


BUCKETS_THAT_ARE_NONE = ["images\\", "images%2F", "images?x=", "Images", "images#", "im", "..", "", "-images", "i" * 64]


@pytest.mark.parametrize("bucket", BUCKETS_THAT_ARE_NONE)
async def test_a_row_whose_bucket_has_no_buckets_name_is_refused_and_the_next_is_used(world, folder, bucket):
    r"""SeaweedFS reads `s3://images\/uploads/7.jpg` as an upload in the bucket `images`."""
    alias = FakeObjectStore(bucket)
    await alias.put("uploads/7.jpg", jpeg(7), metadata=ObjectMetadata("bob", Visibility.PRIVATE))
    rows = [(f"s3://{bucket}/uploads/7.jpg", "public"), ("file://a.jpg", "public")]
    path = write(folder / "t.csv", [{"uri": uri, "visibility": visibility} for uri, visibility in rows])
    summary = await indexed(world, path, alias)
    assert list(world.object_store.objects) == ["set/a.jpg"]
    assert [reason for _, reason in summary.rejected] == [
        f"{bucket!r} is no bucket's name: it has 3 to 63 lower-case letters, digits, dots and hyphens."
    ]


@pytest.mark.parametrize("key", ["sub\\a.jpg", "sub//a.jpg", "../images/uploads/7.jpg", "a\n.jpg", ""])
async def test_a_row_with_an_id_is_refused_if_its_objects_key_is_not_canonical(world, folder, key):
    other = FakeObjectStore("holiday")
    other.put_by_another_program(key, jpeg(7))
    other.get = other.fetch = None  # the row is refused before anything is read
    summary = await indexed(world, write(folder / "t.csv", [{"uri": f"s3://holiday/{key}", "id": "7"}]), other)
    assert not world.object_store.objects
    assert "no name for an object" in summary.rejected[0][1]


async def test_copies_of_objects_are_private_if_either_the_object_or_the_row_says_so(world, folder):
    other = FakeObjectStore("holiday")
    said = {
        "a.jpg": ObjectMetadata("ada", Visibility.PRIVATE, "album"),
        "b.jpg": ObjectMetadata("ada", Visibility.PUBLIC),
        "c.jpg": ObjectMetadata("", Visibility.PRIVATE),
        "uploads/d.jpg": None,
    }
    for number, (key, metadata) in enumerate(said.items()):
        await other.put(key, jpeg(number), metadata=metadata)
    seen = [Visibility.PUBLIC, Visibility.PRIVATE, Visibility.PUBLIC, Visibility.PUBLIC]
    rows = [
        {"uri": f"s3://holiday/{key}", "source": "web", "owner": "bob", "visibility": visibility}
        for key, visibility in zip(said, seen, strict=True)
    ]
    assert (await indexed(world, write(folder / "t.csv", rows), other)).indexed == 4
    expected = {
        "set/holiday/a.jpg": ("album", "ada", Visibility.PRIVATE),
        "set/holiday/b.jpg": ("web", "ada", Visibility.PRIVATE),
        "set/holiday/c.jpg": ("web", "bob", Visibility.PRIVATE),
        "set/holiday/uploads/d.jpg": ("web", "bob", Visibility.PRIVATE),
    }
    assert images(world) == expected
    for key, (origin, owner, visibility) in expected.items():
        assert await world.object_store.metadata(key) == ObjectMetadata(owner, visibility, origin)


@pytest.mark.parametrize("key", ["queries/7", "Queries/7"])
async def test_a_row_of_another_buckets_query_pictures_is_refused(world, folder, key):
    other = FakeObjectStore("holiday")
    await other.put(key, jpeg(7))
    summary = await indexed(world, write(folder / "t.csv", [{"uri": f"s3://holiday/{key}", "id": "7"}]), other)
    assert not world.object_store.objects
    assert "reserved" in summary.rejected[0][1]
