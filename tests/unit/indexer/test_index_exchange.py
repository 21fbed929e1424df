"""An exported index: what the file says, and that it comes back without encoding."""

import stat

import numpy as np
import pytest

from indexer import parquet
from indexer.exchange.index_export import IndexExport
from indexer.exchange.index_file import reading, writing
from indexer.exchange.index_import import IndexImport
from indexer.exchange.records import IndexHeader
from indexer.maintenance.reconcile import Reconcile
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE, Indexing
from visualsearch.domain.errors import FingerprintMismatch, InvalidInput, Unsupported
from visualsearch.domain.images import Status, Visibility
from visualsearch.domain.indexing import ObjectMetadata
from visualsearch.domain.releases import Release, ReleaseState
from visualsearch.imaging.picture_pool import PicturePool

pytest.importorskip("pyarrow")
PRIVATE = ObjectMetadata("ada", Visibility.PRIVATE, "album")
OTHER = Release("v9", 9, "0" * 64, "images_v9", "hnsw")


@pytest.fixture
async def full(world):
    """A world with two public images and a private one."""
    await world.object_store.put("cats/a.jpg", jpeg(1))
    await world.object_store.put("cats/b ü.jpg", jpeg(2))
    await world.object_store.put("album/c.jpg", jpeg(3), metadata=PRIVATE)
    await world.index(*(world.bare(key) for key in ("cats/a.jpg", "cats/b ü.jpg", "album/c.jpg")))
    return world


@pytest.fixture
async def elsewhere(full):
    """Another world with the same pictures in a bucket of another name, and nothing indexed."""
    with PicturePool(1) as pool:
        other = Indexing(pool)
        other.object_store.bucket = "photos"
        await other.release_repository.add(RELEASE, ReleaseState.LIVE)
        other.image_repository.ids = iter(range(1000, 2000))
        for key, data in full.object_store.objects.items():
            await other.object_store.put(key, data, metadata=full.object_store.known[key])
        yield other


async def exported(world, path, *, public_only=False):
    export = IndexExport(world.image_repository, world.vectors, world.object_store.bucket)
    return await export.run(path, RELEASE, public_only=public_only, on_progress=lambda _: None)


async def imported(world, path, release=RELEASE):
    importing = IndexImport(world.image_repository, world.vectors, world.object_store, release)
    return await importing.run(path, on_progress=lambda _: None)


def rows(world):
    """What is searchable, by key."""
    found = {}
    for image in world.image_repository.images.values():
        assert image.status is Status.INDEXED
        row = world.vectors.written[image.id]
        assert (row.owner, row.visibility, row.source) == (image.owner, image.visibility, image.source)
        hashes = row.phash, row.phash_mirrored, row.min_side
        seen = image.owner, image.visibility, image.source, image.content_hash, image.width, image.height
        found[world.object_store.key(image.uri)] = (row.embedding.tobytes(), *hashes, *seen)
    return found


async def colours(world):
    return sorted(one.colours for one in await world.image_repository.contents(-1, 100))


async def agrees(world):
    report = await Reconcile(
        world.object_store, world.image_repository, world.vectors, world.events, world.indexing_progress, pause_s=0
    ).run([RELEASE])
    return report.agrees


async def test_an_index_is_brought_elsewhere_without_encoding(full, elsewhere, tmp_path):
    assert await exported(full, tmp_path / "index.parquet") == 3
    report = await imported(elsewhere, tmp_path / "index.parquet")
    assert (report.imported, report.unchanged, report.refused) == (3, 0, [])
    assert rows(elsewhere) == rows(full)
    assert elsewhere.encoder.batches == []
    assert await colours(elsewhere) == await colours(full)
    assert all(await colours(full))
    assert await agrees(elsewhere)


async def test_a_second_import_changes_nothing(full, elsewhere, tmp_path):
    await exported(full, tmp_path / "index.parquet")
    await imported(elsewhere, tmp_path / "index.parquet")
    before = rows(elsewhere)
    report = await imported(elsewhere, tmp_path / "index.parquet")
    assert (report.imported, report.unchanged) == (0, 3)
    assert rows(elsewhere) == before


async def test_vectors_that_were_lost_come_back_under_their_ids(full, tmp_path):
    await exported(full, tmp_path / "index.parquet")
    before = rows(full)
    full.vectors.written.clear()
    report = await imported(full, tmp_path / "index.parquet")
    assert (report.imported, report.unchanged) == (3, 0)
    assert rows(full) == before


async def test_other_programs_can_read_the_file(full, tmp_path):
    import pyarrow.parquet

    path = tmp_path / "index.parquet"
    await exported(full, path)
    table = pyarrow.parquet.read_table(path)
    assert table.column("uri").to_pylist() == [
        "s3://images/cats/a.jpg",
        "s3://images/cats/b%20%C3%BC.jpg",
        "s3://images/album/c.jpg",
    ]
    assert table.column("visibility").to_pylist() == ["public", "public", "private"]
    assert RELEASE.fingerprint.encode() in table.schema.metadata[b"visualsearch.index"]
    assert np.linalg.norm(table.column("vector")[0].as_py()) == pytest.approx(1, abs=1e-3)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_private_images_can_be_left_out(full, tmp_path):
    assert await exported(full, tmp_path / "index.parquet", public_only=True) == 2
    with reading(tmp_path / "index.parquet") as (_, pages):
        assert [one.owner for page in pages for one in page] == ["", ""]


async def test_an_index_of_another_encoder_is_refused(full, tmp_path):
    await exported(full, tmp_path / "index.parquet")
    full.vectors.rows[OTHER.collection] = {}
    with pytest.raises(FingerprintMismatch, match="cannot be compared"):
        await imported(full, tmp_path / "index.parquet", OTHER)
    assert full.vectors.rows[OTHER.collection] == {}


async def test_pictures_that_are_missing_or_changed_are_refused_with_a_reason(full, elsewhere, tmp_path):
    await exported(full, tmp_path / "index.parquet")
    await elsewhere.object_store.delete("cats/a.jpg")
    await elsewhere.object_store.put("cats/b ü.jpg", jpeg(9))
    report = await imported(elsewhere, tmp_path / "index.parquet")
    reasons = dict(report.refused)
    assert report.imported == 1
    assert "no such object" in reasons["s3://images/cats/a.jpg"]
    assert "other content" in reasons["s3://images/cats/b%20%C3%BC.jpg"]
    assert len(elsewhere.image_repository.images) == 1


async def test_the_same_content_under_another_entity_tag_is_accepted(full, elsewhere, tmp_path, monkeypatch):
    """As an object that was copied in several parts."""
    await exported(full, tmp_path / "index.parquet")

    async def other_tag(key):
        return "abc-3"

    monkeypatch.setattr(elsewhere.object_store, "etag", other_tag)
    assert (await imported(elsewhere, tmp_path / "index.parquet")).imported == 3


async def forged(full, path, **changes):
    """An exported index in which every record is changed."""
    await exported(full, path)
    with reading(path) as (header, pages):
        records = [one for page in pages for one in page]
    path.unlink()
    for one in records:
        for name, value in changes.items():
            object.__setattr__(one, name, value)
    with writing(path, header) as write:
        write(records)


async def test_a_file_cannot_make_a_private_picture_public(full, elsewhere, tmp_path):
    await elsewhere.object_store.put("uploads/7.jpg", jpeg(3))  # its metadata is lost
    path = tmp_path / "index.parquet"
    await forged(full, path, visibility=Visibility.PUBLIC, owner="eve")
    await imported(elsewhere, path)
    (album,) = [one for one in elsewhere.image_repository.images.values() if "album" in one.uri]
    assert (album.owner, album.visibility) == ("ada", Visibility.PRIVATE)
    path.unlink()
    await forged(full, path, uri="s3://images/uploads/7.jpg", visibility=Visibility.PUBLIC)
    report = await imported(elsewhere, path)
    (upload,) = [one for one in elsewhere.image_repository.images.values() if "uploads" in one.uri]
    assert upload.visibility is Visibility.PRIVATE
    assert report.imported == 1
    assert sum("content" in reason or "same object" in reason for _, reason in report.refused) == 2


async def test_a_known_image_keeps_its_owner_and_visibility(full, tmp_path):
    path = tmp_path / "index.parquet"
    await forged(full, path, visibility=Visibility.PUBLIC, owner="eve", source="x")
    before = rows(full)
    full.vectors.written.clear()
    await imported(full, path)
    assert rows(full) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vector": np.zeros(256, np.float32)}, "length 1"),
        ({"vector": np.full(256, np.nan, np.float32)}, "length 1"),
        ({"content_hash": b"short"}, "SHA-256"),
        ({"width": 0}, "size in pixels"),
        ({"uri": "https://images/a.jpg"}, "s3://BUCKET/KEY"),
        ({"uri": "s3://images/queries/7"}, "reserved"),
        ({"uri": "s3://images/a/../b.jpg"}, "no name for an object"),
        ({"uri": ""}, "s3://BUCKET/KEY"),
    ],
)
async def test_records_that_no_indexer_wrote_are_refused(full, elsewhere, tmp_path, changes, reason):
    await forged(full, tmp_path / "index.parquet", **changes)
    report = await imported(elsewhere, tmp_path / "index.parquet")
    assert report.imported == 0
    assert all(reason in one for _, one in report.refused)
    assert len(report.refused) == 3
    assert not elsewhere.vectors.written


async def test_a_file_that_is_no_index_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / "x.parquet"
    for write in (
        lambda: path.write_text("no parquet"),
        lambda: pyarrow.parquet.write_table(pa.table({"a": [1]}), path),
    ):
        write()
        with pytest.raises(InvalidInput), reading(path):
            pass


async def test_an_export_never_writes_over_a_file_and_leaves_none_behind(full, tmp_path):
    path = tmp_path / "index.parquet"
    path.write_text("mine")
    with pytest.raises(InvalidInput, match="exists already"):
        await exported(full, path)
    assert [one.name for one in tmp_path.iterdir()] == ["index.parquet"]
    with pytest.raises(ValueError, match="stop"), writing(tmp_path / "b.parquet", IndexHeader("f", "v1", 1, "b")):
        raise ValueError("stop")
    with pytest.raises(InvalidInput, match="cannot be written"):
        await exported(full, tmp_path / "no folder" / "index.parquet")
    assert [one.name for one in tmp_path.iterdir()] == ["index.parquet"]


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"\[parquet\]"):
        parquet.require_parquet()
