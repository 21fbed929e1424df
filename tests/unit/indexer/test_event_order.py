"""Events in any order, any number of times: the object itself decides what is searchable."""

import hashlib
from itertools import permutations

import pytest

from tests.pictures import jpeg
from visualsearch.domain.images import Status
from visualsearch.domain.indexing import Event, EventKind, simple_etag

OLD, NEW = jpeg(1), jpeg(2)
KEY = "a.jpg"
ORDERS = list(permutations(range(3)))


def history(world):
    """What a store reports of an object that was put, removed and put again, in the order in which it happened."""
    uri = world.object_store.uri(KEY)
    return [
        Event(EventKind.CREATED, uri, etag=simple_etag(OLD)),
        Event(EventKind.DELETED, uri),
        Event(EventKind.CREATED, uri, etag=simple_etag(NEW)),
    ]


def contents(world):
    """The content hashes of the indexed images that have a vector."""
    images = world.image_repository.images.values()
    assert set(world.vectors.written) == {image.id for image in images}
    return [image.content_hash for image in images if image.status is Status.INDEXED]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("together", [True, False])
async def test_a_picture_that_exists_is_indexed_once_in_whatever_order_its_events_come(world, order, together):
    await world.object_store.put(KEY, NEW)
    events = [history(world)[number] for number in order] * 2
    for batch in [events] if together else [[event] for event in events]:
        await world.index(*batch)
    assert contents(world) == [hashlib.sha256(NEW).digest()]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("together", [True, False])
async def test_a_picture_that_was_removed_is_not_found_in_whatever_order_its_events_come(world, order, together):
    await world.object_store.put(KEY, OLD)
    await world.index(history(world)[0])
    await world.object_store.delete(KEY)
    events = [history(world)[number] for number in order]
    for batch in [events] if together else [[event] for event in events]:
        await world.index(*batch)
    assert contents(world) == []


async def test_a_version_that_is_removed_leaves_the_one_before_it(world):
    """In a versioned bucket, the deletion of the newest version brings an older one back."""
    await world.object_store.put(KEY, NEW)
    await world.index(history(world)[2])
    await world.object_store.put(KEY, OLD)
    await world.index(history(world)[1])
    assert contents(world) == [hashlib.sha256(OLD).digest()]


async def test_a_deletion_that_is_reported_while_it_goes_on_is_done(world):
    event = await world.upload(KEY, OLD)
    await world.index(event)
    await world.image_repository.delete(event.image_id)
    (outcome,) = await world.index(world.bare(KEY, EventKind.DELETED))
    assert outcome.image_id == 0
    assert not world.image_repository.images
