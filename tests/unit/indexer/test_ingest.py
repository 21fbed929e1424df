"""Each event has one outcome, and rows, vectors and objects stay consistent."""

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from indexer.pipeline import ingest
from tests.pictures import jpeg
from tests.unit.indexing import RELEASE
from visualsearch.domain.errors import Overloaded
from visualsearch.domain.images import MAX_UPLOAD_BYTES, NewImage, Quota, Status, Visibility
from visualsearch.domain.indexing import Event, EventKind, Indexed, ObjectMetadata, Rejected, Retry
from visualsearch.domain.search import VectorRow
from visualsearch.imaging import opening
from visualsearch.imaging.decoding_cost import TooExpensiveHere
from visualsearch.imaging.picture_pool import WAITING
from visualsearch.imaging.preprocessing import prepare


async def test_an_uploaded_picture_becomes_searchable_with_all_that_ranking_needs(world):
    event = await world.upload("a.jpg", jpeg(1))
    assert await world.index(event) == [Indexed(event.image_id)]
    image, row = world.image_repository.images[event.image_id], world.vectors.searchable[event.image_id]
    assert (image.status, image.width, image.height) == (Status.INDEXED, 320, 240)
    assert (row.source, row.owner, row.min_side) == ("web", "ada", 240)
    assert row.phash == world.image_repository.phashes[image.id]
    assert world.image_repository.colours[image.id] == prepare(jpeg(1)).colours
    assert world.image_repository.indexed_in[image.id] == RELEASE.name


async def test_a_batch_is_embedded_in_one_call_and_answered_in_order(world):
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(5)]
    assert await world.index(*events) == [Indexed(event.image_id) for event in events]
    assert world.encoder.batches == [5]


async def test_an_empty_batch_calls_no_server(world):
    assert await world.index() == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no picture", "not a JPEG"),
        (jpeg(1)[:3000], "cut off"),
        (jpeg(1) + bytes(MAX_UPLOAD_BYTES), "bytes"),
        (jpeg(1, 12, 12), "16"),
    ],
)
async def test_one_bad_picture_is_rejected_with_a_reason_and_its_batch_continues(world, data, reason):
    good, bad, other = [await world.upload(*one) for one in (("a", jpeg(1)), ("b", data), ("c", jpeg(2)))]
    outcomes = await world.index(good, bad, other)
    assert outcomes[::2] == [Indexed(good.image_id), Indexed(other.image_id)]
    assert isinstance(outcomes[1], Rejected)
    row = world.image_repository.images[bad.image_id]
    assert row.status is Status.REJECTED
    assert reason in row.reason
    assert set(world.vectors.searchable) == {good.image_id, other.image_id}


async def test_a_registered_image_without_an_object_is_rejected(world):
    event = await world.upload("a", jpeg(1))
    await world.object_store.delete("a")
    (outcome,) = await world.index(event)
    assert isinstance(outcome, Rejected)
    assert world.image_repository.images[event.image_id].status is Status.REJECTED


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 0.0, 2.0])
async def test_only_the_picture_with_an_invalid_embedding_is_rejected(world, spoilt):
    def spoil(embeddings):
        embeddings[0] *= np.float32(spoilt)
        return embeddings

    world.encoder.spoil = spoil
    bad, good = [await world.upload(name, jpeg(number)) for number, name in enumerate("ab")]
    with np.errstate(invalid="ignore"):
        outcomes = await world.index(bad, good)
    assert isinstance(outcomes[0], Rejected)
    assert outcomes[1] == Indexed(good.image_id)
    assert set(world.vectors.written) == {good.image_id}


@pytest.mark.parametrize("server", ["encoder", "vectors", "image_repository", "object_store"])
async def test_while_a_server_is_down_events_are_to_be_retried(world, server):
    event = await world.upload("a", jpeg(1))
    getattr(world, server).down = True
    (outcome,) = await world.index(event)
    assert isinstance(outcome, Retry)
    assert not await world.ingest.healthy([RELEASE])
    getattr(world, server).down = False
    assert world.image_repository.images[event.image_id].status is Status.PENDING
    assert await world.ingest.healthy([RELEASE])
    assert await world.index(event) == [Indexed(event.image_id)]


@pytest.mark.parametrize("error", [Overloaded("Too much."), RuntimeError("a bug")])
async def test_events_are_to_be_retried_while_the_encoder_is_unavailable(world, error):
    def spoil(embeddings):
        raise error

    world.encoder.spoil = spoil
    assert isinstance((await world.index(await world.upload("a", jpeg(1))))[0], Retry)


async def test_a_picture_that_a_busy_machine_does_not_decode_in_time_is_retried(world, monkeypatch):
    async def busy(*_):
        raise Overloaded("The machine is too busy.")

    event = await world.upload("a", jpeg(1))
    monkeypatch.setattr(world.pool, "run", busy)
    assert isinstance((await world.index(event))[0], Retry)
    assert world.image_repository.images[event.image_id].status is Status.PENDING
    monkeypatch.undo()
    assert await world.index(event) == [Indexed(event.image_id)]


async def test_an_encoder_that_sheds_load_is_waited_for(world):
    def spoil(embeddings):
        if len(world.encoder.batches) < 3:
            raise Overloaded("Too much.")
        return embeddings

    world.encoder.spoil = spoil
    event = await world.upload("a", jpeg(1))
    assert await world.index(event) == [Indexed(event.image_id)]


async def test_an_unexpected_error_of_one_picture_spares_its_batch(world):
    events = [await world.upload(f"{number}.jpg", jpeg(number)) for number in range(3)]
    bad = world.image_repository.images[events[1].image_id]

    def spoil(embeddings):
        if world.encoder.batches[-1] > 1 or len(world.encoder.batches) == 3:
            raise RuntimeError("a bug")
        return embeddings

    world.encoder.spoil = spoil
    first, second, third = await world.index(*events)
    assert (first, third) == (Indexed(events[0].image_id), Indexed(events[2].image_id))
    assert isinstance(second, Retry)
    assert world.image_repository.images[bad.id].status is Status.PENDING


async def test_unchanged_content_is_skipped(world):
    event = await world.upload("a", jpeg(1))
    await world.index(event)
    assert await world.index(event) == [Indexed(event.image_id)]
    assert world.encoder.batches == [1]


async def test_changed_content_is_indexed_anew_under_the_same_id(world):
    event = await world.upload("a", jpeg(1))
    await world.index(event)
    before = world.vectors.searchable[event.image_id].phash
    await world.object_store.put("a", jpeg(2))
    assert await world.index(world.bare("a")) == [Indexed(event.image_id)]
    assert world.vectors.searchable[event.image_id].phash != before


async def test_several_events_of_one_image_are_processed_once(world):
    event = await world.upload("a", jpeg(1))
    assert await world.index(event, world.bare("a"), event) == [Indexed(event.image_id)] * 3
    assert world.encoder.batches == [1]


async def test_an_unregistered_object_is_indexed_too(world):
    await world.object_store.put("a", jpeg(1))
    (outcome,) = await world.index(world.bare("a"))
    assert world.image_repository.images[outcome.image_id].status is Status.INDEXED


async def test_an_object_removed_before_it_was_registered_leaves_no_row(world):
    (outcome,) = await world.index(world.bare("a"))
    assert isinstance(outcome, Rejected)
    assert outcome.image_id is None
    assert not world.image_repository.images


async def test_deleting_an_object_deletes_its_image(world):
    event = await world.upload("a", jpeg(1))
    await world.index(event)
    await world.object_store.delete("a")
    assert await world.index(world.bare("a", EventKind.DELETED)) == [Indexed(event.image_id)]
    assert not world.image_repository.images
    assert not world.vectors.searchable
    assert await world.image_repository.unfinished_deletions(0, 10) == []
    assert await world.index(world.bare("a", EventKind.DELETED)) == [Indexed(0)]


async def test_a_deletion_that_anybody_reports_of_an_upload_that_is_about_to_be_stored_removes_nothing(world):
    event = await world.upload("uploads/a.jpg", jpeg(1))
    stored = world.object_store.objects.pop("uploads/a.jpg")
    (outcome,) = await world.index(world.bare("uploads/a.jpg", EventKind.DELETED))
    assert isinstance(outcome, Retry)
    world.object_store.objects["uploads/a.jpg"] = stored
    assert await world.index(event) == [Indexed(event.image_id)]
    assert event.image_id in world.vectors.searchable


async def test_an_upload_that_is_removed_before_it_is_indexed_is_deleted(world):
    event = await world.upload("uploads/a.jpg", jpeg(1))
    await world.object_store.delete("uploads/a.jpg")
    await world.index(event, world.bare("uploads/a.jpg", EventKind.DELETED))
    assert not world.image_repository.images


async def test_a_late_deletion_event_keeps_a_recreated_object(world):
    event = await world.upload("a", jpeg(1))
    assert await world.index(event, world.bare("a", EventKind.DELETED)) == [Indexed(event.image_id)] * 2
    assert event.image_id in world.vectors.searchable


async def test_a_late_event_does_not_bring_a_deleted_image_back(world):
    event = await world.upload("a", jpeg(1))
    await world.image_repository.delete(event.image_id)
    assert await world.index(event) == [Indexed(event.image_id)]
    await world.object_store.delete("a")
    await world.image_repository.finish_deletion(event.image_id)
    assert await world.index(world.bare("a")) == [Indexed(0)]
    assert not world.image_repository.images
    assert not world.vectors.written


async def test_a_uri_that_was_deleted_and_used_again_is_a_new_image(world):
    event = await world.upload("a", jpeg(1))
    await world.image_repository.delete(event.image_id)
    (outcome,) = await world.index(world.bare("a"))
    assert isinstance(outcome, Retry)  # its object may be the deleted one still
    await world.image_repository.finish_deletion(event.image_id)
    (outcome,) = await world.index(world.bare("a"))
    assert isinstance(outcome, Indexed)
    assert outcome.image_id not in {0, event.image_id}
    assert outcome.image_id in world.vectors.searchable


async def test_an_image_deleted_while_it_is_indexed_leaves_no_vector(world):
    event = await world.upload("a", jpeg(1))
    world.vectors.before_settling = lambda: world.image_repository.images.clear()
    assert await world.index(event) == [Indexed(event.image_id)]
    assert not world.vectors.searchable


@pytest.mark.parametrize("uri", ["", "s3://other/a", "s3://images/", "s3://images/a/../b", "s3://images/%00"])
async def test_an_event_of_a_foreign_object_is_rejected_without_a_row(world, uri):
    for kind in EventKind:
        (outcome,) = await world.index(Event(kind, uri, 1))
        assert isinstance(outcome, Rejected)
        assert outcome.image_id is None
    assert not world.image_repository.images


async def test_an_event_with_the_entity_tag_of_the_indexed_object_is_skipped(world):
    event = await world.upload("a", jpeg(1))
    await world.index(event)
    etag = world.image_repository.images[event.image_id].etag
    world.object_store.down = True
    (outcome,) = await world.index(Event(EventKind.CREATED, event.uri, etag=etag))
    assert outcome == Indexed(event.image_id)


async def test_an_object_that_is_no_picture_is_rejected_with_a_reason_in_its_row(world):
    await world.object_store.put("notes/a.txt", b"no picture")
    (outcome,) = await world.index(world.bare("notes/a.txt"))
    assert isinstance(outcome, Rejected)
    row = world.image_repository.images[outcome.image_id]
    assert (row.status, row.source) == (Status.REJECTED, "notes")
    assert "not a JPEG" in row.reason


async def test_a_picture_that_was_replaced_by_another_kind_of_file_is_not_found_any_more(world):
    event = await world.upload("a", jpeg(1))
    await world.index(event)
    await world.object_store.put("a", b"no picture")
    assert isinstance((await world.index(world.bare("a")))[0], Rejected)
    assert not world.vectors.searchable


async def test_an_image_that_changes_while_it_is_indexed_is_indexed_again(world):
    event = await world.upload("a", jpeg(1))
    image = world.image_repository.images[event.image_id]

    def change():
        world.image_repository.images[image.id] = replace(image, content_hash=b"another's")
        world.vectors.before_settling = lambda: None

    world.vectors.before_settling = change
    assert isinstance((await world.index(event))[0], Retry)
    assert world.image_repository.images[image.id].status is Status.PENDING
    assert await world.index(event) == [Indexed(image.id)]


async def test_every_release_that_is_not_retired_gets_the_vector(world):
    other = replace(RELEASE, name="v1_other", collection="images_v1_other")
    await world.vectors.create(other.collection, other.profile)
    event = await world.upload("a", jpeg(1))
    assert await world.ingest.batch([event], [RELEASE, other]) == [Indexed(event.image_id)]
    assert list(world.vectors.rows[other.collection]) == [event.image_id]
    await world.object_store.delete("a")
    await world.ingest.batch([world.bare("a", EventKind.DELETED)], [RELEASE, other])
    assert not world.vectors.rows[other.collection]


def ends_its_decoder(_data):
    if multiprocessing.parent_process() is None:
        raise TooExpensiveHere
    os.kill(os.getpid(), signal.SIGKILL)


async def test_a_picture_that_ends_its_decoder_is_rejected_at_once_with_a_reason(world, monkeypatch):
    monkeypatch.setattr(ingest, "prepare", ends_its_decoder)
    (outcome,) = await world.index(await world.upload("a", jpeg(1)))
    assert isinstance(outcome, Rejected)
    assert "Its decoder died" in world.image_repository.images[outcome.image_id].reason


async def test_a_batch_of_expensive_pictures_is_indexed_whole(world, monkeypatch):
    monkeypatch.setattr(opening, "CHEAP", 0)
    outcomes = await world.index(*[await world.upload(f"{i}", jpeg(i)) for i in range(2 * WAITING)])
    assert [type(outcome) for outcome in outcomes] == [Indexed] * 2 * WAITING


@pytest.mark.parametrize("key", ["queries/7", "Queries/7", ".visualsearch/probe"])
async def test_an_object_of_the_gateway_never_becomes_a_picture(world, key):
    await world.object_store.put(key, jpeg(7))
    (outcome,) = await world.index(Event(EventKind.CREATED, f"s3://{world.object_store.bucket}/{key}"))
    assert isinstance(outcome, Rejected)
    assert not world.image_repository.images
    assert not world.vectors.written


@pytest.mark.parametrize(
    "name", ["queries%5C7", "queries%2F7", "uploads%5C7", "%71ueries/7", "%2E/queries/7", "up%6Coads/7"]
)
async def test_a_uri_that_is_spelled_otherwise_never_becomes_a_picture(world, name):
    for key in ("queries/7", "uploads/7"):
        await world.object_store.put(key, jpeg(7))
    (outcome,) = await world.index(Event(EventKind.CREATED, f"s3://{world.object_store.bucket}/{name}"))
    assert isinstance(outcome, Rejected)
    assert not world.image_repository.images


async def test_an_image_of_a_key_that_is_no_pictures_is_removed_and_the_object_kept(world):
    """An earlier version made such images out of notices."""
    await world.object_store.put("queries/7", jpeg(7))
    uri = f"s3://{world.object_store.bucket}/queries%5C7"
    image = await world.image_repository.register(NewImage(uri))
    await world.vectors.upsert(RELEASE.collection, [VectorRow(image.id, np.ones(256, np.float32) / 16, 1, 2)])
    (outcome,) = await world.index(Event(EventKind.DELETED, uri))
    assert isinstance(outcome, Rejected)
    assert not world.image_repository.images
    assert not world.vectors.written
    assert "queries/7" in world.object_store.objects


@pytest.mark.parametrize(
    ("key", "metadata", "expected"),
    [
        ("uploads/a.jpg", None, ("", Visibility.PRIVATE, "uploads")),
        ("uploads/a.jpg", ObjectMetadata("ada", Visibility.PRIVATE, "web"), ("ada", Visibility.PRIVATE, "web")),
        ("uploads/a.jpg", ObjectMetadata("ada", Visibility.PUBLIC), ("ada", Visibility.PUBLIC, "uploads")),
        ("cats/a.jpg", None, ("", Visibility.PUBLIC, "cats")),
        ("cats/a.jpg", ObjectMetadata("ada", Visibility.PRIVATE), ("ada", Visibility.PRIVATE, "cats")),
    ],
)
@pytest.mark.parametrize("data", [jpeg(1), b"no picture"])
async def test_an_object_without_a_row_is_for_those_whom_its_metadata_names(world, key, metadata, expected, data):
    await world.object_store.put(key, data, metadata=metadata)
    await world.index(world.bare(key))
    (image,) = world.image_repository.images.values()
    for one in (image, *world.vectors.written.values()):
        assert (one.owner, one.visibility, one.source) == expected


async def test_an_event_changes_neither_the_owner_nor_the_visibility_of_an_image(world):
    uri = world.object_store.uri("uploads/a.jpg")
    image = await world.image_repository.register(NewImage(uri, "web", "ada", Visibility.PRIVATE))
    await world.object_store.put("uploads/a.jpg", jpeg(1), metadata=ObjectMetadata("eve", Visibility.PUBLIC))
    await world.index(world.bare("uploads/a.jpg"))
    (row,) = world.vectors.written.values()
    for one in (world.image_repository.images[image.id], row):
        assert (one.owner, one.visibility) == ("ada", Visibility.PRIVATE)


async def test_an_object_beyond_its_owners_quota_is_rejected_with_the_reason(world):
    world.limit_to(Quota(images=2))
    for number in range(4):
        await world.object_store.put(
            f"put/{number}.jpg", jpeg(number), metadata=ObjectMetadata("eve", Visibility.PUBLIC)
        )
    outcomes = await world.index(*(world.bare(f"put/{number}.jpg") for number in range(4)))
    rejected = [one for one in outcomes if isinstance(one, Rejected)]
    assert len(rejected) == 2
    assert "You may store 2 pictures" in rejected[0].reason
    assert (await world.image_repository.usage("eve")).images == 2


async def test_an_image_that_becomes_private_while_it_is_indexed_is_not_found_by_its_old_values(world):
    event = await world.upload("uploads/one.jpg", jpeg(1))

    def becomes_private():
        images = world.image_repository.images
        images[event.image_id] = replace(images[event.image_id], visibility=Visibility.PRIVATE)

    world.vectors.before_settling = becomes_private
    assert isinstance((await world.index(event))[0], Retry)
    assert world.image_repository.images[event.image_id].status is Status.PENDING
    assert (await world.index(event))[0] == Indexed(event.image_id)
    assert world.vectors.written[event.image_id].visibility is Visibility.PRIVATE
