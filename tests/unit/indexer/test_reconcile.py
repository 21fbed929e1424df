"""The differences that a reconciliation finds, and their repair."""

from contextlib import ExitStack

import pytest

from indexer.maintenance.external_sort import sorted_lines
from indexer.maintenance.reconcile import Kind, Reconcile
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE, settled, working
from visualsearch.domain.images import ImageMetadata, NewImage, Status, Visibility
from visualsearch.domain.indexing import ObjectMetadata
from visualsearch.domain.search import VectorRow

ALL = 7


@pytest.fixture
async def corpus(world):
    """A world with some indexed images, in the order of their ids."""
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(ALL)]
    await world.index(*events)
    return [event.image_id for event in events]


def a_reconciliation(world, *, repair=False):
    rewrite = world.ingest.rewrite if repair else None
    return Reconcile(
        world.object_store,
        world.image_repository,
        world.vectors,
        world.events,
        world.indexing_progress,
        rewrite=rewrite,
        pause_s=0,
    )


async def found(world, **values):
    report = await a_reconciliation(world, **values).run([RELEASE])
    return {(kind, release): number for (release, kind), number in report.counts.items()}


async def repaired(world):
    """Repair, let the indexer do its part, and look again."""
    await found(world, repair=True)
    async with working(world):
        await eventually(lambda: settled(world))
    return await found(world)


async def unknown_object(world, ids):
    await world.object_store.put("straight/x.jpg", jpeg(50))


async def lost_object(world, ids):
    await world.object_store.delete("3.jpg")


async def stale_row(world, ids):
    await world.object_store.put("3.jpg", jpeg(51))


async def missing_vector(world, ids):
    await world.vectors.delete(RELEASE.collection, [ids[3]])


async def orphaned_vector(world, ids):
    row = world.vectors.written[ids[0]]
    await world.vectors.upsert(RELEASE.collection, [VectorRow(10**9, row.embedding, 1, 2)])


async def stale_vector(world, ids):
    row = world.vectors.written[ids[3]]
    await world.vectors.upsert(RELEASE.collection, [VectorRow(ids[3], row.embedding, 1, 2)])


HARM = {
    Kind.UNKNOWN_OBJECT: (unknown_object, ""),
    Kind.LOST_OBJECT: (lost_object, ""),
    Kind.STALE_ROW: (stale_row, ""),
    Kind.MISSING_VECTOR: (missing_vector, RELEASE.name),
    Kind.ORPHANED_VECTOR: (orphaned_vector, RELEASE.name),
    Kind.STALE_VECTOR: (stale_vector, RELEASE.name),
}


async def test_consistent_stores_are_reported_as_such(world, corpus):
    report = await a_reconciliation(world).run([RELEASE])
    assert report.agrees
    assert (report.objects, report.rows, report.vectors) == (ALL, ALL, {RELEASE.name: ALL})


@pytest.mark.parametrize("kind", list(Kind))
async def test_each_kind_of_difference_is_named_counted_and_repaired(world, corpus, kind):
    harm, release = HARM[kind]
    await harm(world, corpus)
    assert await found(world) == {(kind, release): 1}
    assert await world.indexing_progress.differences() == {(release, kind.value): 1}
    assert await repaired(world) == {}
    assert await world.indexing_progress.differences() == {}


async def test_all_differences_together_are_repaired_and_a_second_repair_is_harmless(world, corpus):
    await unknown_object(world, corpus)
    await missing_vector(world, corpus)
    await orphaned_vector(world, corpus)
    await world.object_store.delete("5.jpg")
    await found(world, repair=True)
    assert await repaired(world) == {}
    assert len(world.vectors.written) == len(world.image_repository.images) == ALL


async def test_an_image_stays_indexed_during_its_repair(world, corpus):
    await missing_vector(world, corpus)
    await found(world, repair=True)
    assert {image.status for image in world.image_repository.images.values()} == {Status.INDEXED}
    assert corpus[3] in world.vectors.written


@pytest.mark.parametrize("kind", [Kind.MISSING_VECTOR, Kind.STALE_VECTOR])
async def test_the_search_after_a_repair_finds_what_was_repaired(world, corpus, kind):
    harm, _ = HARM[kind]
    await harm(world, corpus)
    await world.vectors.settle(RELEASE.collection)
    await found(world, repair=True)
    searchable = {image_id: row.phash for image_id, row in world.vectors.searchable.items()}
    assert searchable == dict(await world.image_repository.hashes(-1, ALL))


async def test_pending_and_rejected_images_are_no_difference(world, corpus):
    await world.image_repository.register(NewImage("s3://images/promised.jpg"))
    refused = await world.upload("text.jpg", b"no picture")
    await world.index(refused)
    assert await found(world) == {}


async def test_our_own_objects_in_the_bucket_are_no_pictures(world, corpus):
    await world.object_store.put("queries/17", jpeg(1))
    await world.object_store.put(".visualsearch/probe", b"probe")
    report = await a_reconciliation(world).run([RELEASE])
    assert (report.agrees, report.objects) == (True, ALL)


async def test_a_missing_collection_lacks_every_vector(world, corpus):
    await world.vectors.drop(RELEASE.collection)
    assert await found(world) == {(Kind.MISSING_VECTOR, RELEASE.name): ALL}


async def test_lines_are_sorted_in_runs_no_longer_than_allowed():
    lines = [f"s3://images/{number * 7919 % 1000:04}\tetag" for number in range(1000)]

    async def pages():
        for begin in range(0, len(lines), 30):
            yield lines[begin : begin + 30]

    with ExitStack() as stack:
        assert list(await sorted_lines(pages(), stack, run=100)) == sorted(lines)


async def test_a_lost_row_comes_back_for_those_whom_its_object_names(world):
    """As after a backup that was taken while pictures were uploaded: their objects are in it, their rows are not."""
    metadata = ObjectMetadata("ada", Visibility.PRIVATE, "web")
    await world.object_store.put("uploads/known.jpg", jpeg(1), metadata=metadata)
    await world.object_store.put("uploads/unknown.jpg", jpeg(2))
    assert not await repaired(world)
    rows = {image.uri.rpartition("/")[2]: image for image in world.image_repository.images.values()}
    assert (rows["known.jpg"].owner, rows["known.jpg"].visibility) == ("ada", Visibility.PRIVATE)
    assert (rows["unknown.jpg"].owner, rows["unknown.jpg"].visibility) == ("", Visibility.PRIVATE)
    assert {row.visibility for row in world.vectors.written.values()} == {Visibility.PRIVATE}


async def test_an_image_that_was_made_of_a_query_picture_is_removed(world, corpus):
    await world.object_store.put("queries/7", jpeg(7))
    image = await world.image_repository.register(NewImage(f"s3://{world.object_store.bucket}/queries%5C7"))
    await world.image_repository.describe([ImageMetadata(image.id, 320, 240, 1, b"content")])
    await world.image_repository.mark_indexed({image.id: b"content"}, RELEASE.name)
    assert await found(world) == {(Kind.LOST_OBJECT, ""): 1, (Kind.MISSING_VECTOR, "v1"): 1}
    await repaired(world)
    assert image.id not in world.image_repository.images
    assert not await found(world)
    assert "queries/7" in world.object_store.objects
