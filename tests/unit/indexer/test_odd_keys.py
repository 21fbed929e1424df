"""Keys that other programs write into the bucket: none of them stops the work on the others."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from indexer.maintenance.backup import Backup
from indexer.maintenance.backup_archive import Places
from indexer.maintenance.reconcile import Reconcile
from indexer.maintenance.retention import Retention
from indexer.sources.bulk import index_all
from indexer.sources.change_feed_consumer import BucketSweep
from indexer.sources.picture_sources import Bucket
from tests.eventually import eventually
from tests.fakes.audit_log import FakeAuditLog
from tests.fakes.interaction_queue import FakeInteractionQueue
from tests.fakes.interaction_repository import FakeInteractions
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.table_copy import FakeTableCopy
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE, settled, working
from visualsearch.domain.images import Status
from visualsearch.domain.object_keys import MAX_KEY_BYTES

USABLE = [
    "100%.jpg",
    "a%2Fb.jpg",
    "a+b.jpg",
    "dots...",
    "space .jpg ",
    " x.jpg",
    "c" * MAX_KEY_BYTES,
    "~$x.jpg",
    "#?&.jpg",
]
UNUSABLE = ["a//b.jpg", "./x.jpg", "a/../b.jpg", "a/./b.jpg", "/x.jpg", "back\\slash.jpg", "tab\t.jpg", "\x01.jpg"]
UNUSABLE.append("d" * (MAX_KEY_BYTES + 1))
FOLDERS = ["photos/", "photos/2024/"]
HIDDEN = ["../x.jpg", ".x.jpg"]
"""Keys with a leading dot are reserved."""


def fill(object_store):
    """Store a picture under each key, and what is passed over: the objects of folders, and hidden ones."""
    for number, key in enumerate([*USABLE, *UNUSABLE]):
        object_store.put_by_another_program(key, jpeg(number))
    for key in (*FOLDERS, *HIDDEN):
        object_store.put_by_another_program(key, b"")


def indexed(world):
    images = world.image_repository.images.values()
    return sorted(world.object_store.key(one.uri) for one in images if one.status is Status.INDEXED)


async def test_the_sweep_finds_every_usable_key_and_reports_the_others(world, caplog):
    fill(world.object_store)
    sweep = BucketSweep("one", world.events, world.image_repository, world.object_store, 60.0)
    with caplog.at_level(logging.WARNING):
        assert await sweep.sweep() == len(USABLE)
    assert f"{len(UNUSABLE)} objects have keys that no picture may have" in caplog.text
    assert "a/../b.jpg" in caplog.text
    async with working(world):
        await eventually(lambda: settled(world))
    assert indexed(world) == sorted(USABLE)
    assert await sweep.sweep() == 0


async def test_a_reconciliation_counts_unusable_keys_apart_from_differences(world):
    fill(world.object_store)
    await world.index(*(world.bare(key) for key in USABLE))
    report = await Reconcile(
        world.object_store, world.image_repository, world.vectors, world.events, world.indexing_progress, pause_s=0
    ).run([RELEASE])
    assert report.agrees
    assert report.objects == len(USABLE)
    assert report.unusable_keys.startswith(f"{len(UNUSABLE)} objects have keys")


@pytest.mark.parametrize("bucket", ["images", "holiday"])
async def test_a_bucket_is_indexed_with_a_reason_for_each_unusable_key(world, bucket):
    store = world.object_store if bucket == world.object_store.bucket else FakeObjectStore(bucket)
    fill(store)
    source = Bucket(store, "", world.object_store.bucket)
    async with working(world):
        summary = await index_all(
            source, world.object_store, world.image_repository, world.events, on_progress=lambda counts: None
        )
    refused = UNUSABLE if bucket == world.object_store.bucket else [*UNUSABLE, *HIDDEN]
    too_long = {f"s3://holiday/{'c' * MAX_KEY_BYTES}"} if bucket == "holiday" else set()  # with the bucket's name
    assert {name for name, _ in summary.rejected} == {f"s3://{bucket}/{key}" for key in refused} | too_long
    assert all(len(reason) > 20 for _, reason in summary.rejected)
    assert summary.indexed == len(USABLE) - len(too_long)


async def test_a_backup_leaves_out_what_it_cannot_read_and_names_it(world, tmp_path):
    fill(world.object_store)
    places = Places(
        FakeTableCopy(world.image_repository),
        world.image_repository,
        world.release_repository,
        world.vectors,
        world.object_store,
        tmp_path / "models",
    )
    model = tmp_path / "models" / str(RELEASE.model_version)
    model.mkdir(parents=True)
    (model / "card.json").write_text('{"fingerprint": "f"}')
    manifest = await Backup(places).run(tmp_path / "backup", with_objects=True)
    unreadable = {key for key in UNUSABLE if len(key) <= MAX_KEY_BYTES}
    assert set(manifest.left_out) == unreadable | {*FOLDERS, "../x.jpg"}
    assert manifest.objects == len(USABLE) + len(UNUSABLE) - len(unreadable) + len([".x.jpg"])


async def test_retention_deletes_old_pictures_of_queries_beside_unusable_keys(world):
    store = world.object_store
    for key in ("queries/7", "queries//8", "queries/../9"):
        store.put_by_another_program(key, b"x")
        store.changed[key] = datetime.now(UTC) - timedelta(days=11)
    await Retention(
        "one",
        world.events,
        FakeInteractions(),
        FakeInteractionQueue(),
        store,
        FakeAuditLog(world.image_repository, world.release_repository),
        days=10,
        audit_days=400,
    ).enforce()
    assert sorted(store.objects) == ["queries/../9", "queries//8"]
