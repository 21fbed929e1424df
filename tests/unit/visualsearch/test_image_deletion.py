"""A deletion may be interrupted at any step; the next run completes it and removes nothing else."""

import numpy as np
import pytest

from tests.fakes.image_repository import FakeImages
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.vectors import FakeVectors
from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.images import NewImage
from visualsearch.domain.search import VectorRow
from visualsearch.image_deletion import ImageDeletion

COLLECTIONS = ["images_v1", "images_v2"]
KEY = "uploads/one.jpg"


@pytest.fixture
def stores():
    return FakeImages(), FakeVectors(), FakeObjectStore()


@pytest.fixture
async def image(stores):
    """An image that is in every store."""
    image_repository, vectors, object_store = stores
    image = await image_repository.register(NewImage(object_store.uri(KEY)))
    await object_store.put(KEY, b"picture")
    for collection in COLLECTIONS:
        await vectors.create(collection, "ivf_pq")
        await vectors.upsert(collection, [VectorRow(image.id, np.ones(4, np.float32), 0, 0, "")])
    return image


async def remains(stores, image_id):
    """Where the image still is."""
    image_repository, vectors, object_store = stores
    found = [name for name in COLLECTIONS if await vectors.page(name, -1, 10)]
    found += ["objects"] * (KEY in object_store.objects)
    return found + ["rows"] * (image_id in image_repository.images)


class CutOff:
    """Passes calls on to a store until the process dies, at the given call."""

    def __init__(self, store, calls):
        self._store = store
        self._calls = calls

    def __getattr__(self, name):
        if not self._calls:
            raise Unavailable("The process that deletes")
        self._calls.pop()
        return getattr(self._store, name)


def cut_off_after(stores, calls):
    left = [None] * calls
    return ImageDeletion(*(CutOff(store, left) for store in stores))


async def test_an_image_is_deleted_from_every_store(stores, image):
    await ImageDeletion(*stores).delete(image.id, COLLECTIONS)
    assert await remains(stores, image.id) == []
    with pytest.raises(NotFound):
        await ImageDeletion(*stores).delete(image.id, COLLECTIONS)


@pytest.mark.parametrize("calls", range(7))
async def test_a_deletion_interrupted_at_any_step_is_completed_later(stores, image, calls):
    with pytest.raises(Unavailable):
        await cut_off_after(stores, calls).delete(image.id, COLLECTIONS)
    image_repository = stores[0]
    unfinished = await image_repository.unfinished_deletions(0.0, 10)
    if calls == 0:
        assert len(await remains(stores, image.id)) == 4, "nothing has happened"
        return
    assert "rows" not in await remains(stores, image.id)
    assert unfinished == [(image.id, image.uri)]
    await ImageDeletion(*stores).finish(*unfinished[0], COLLECTIONS)
    assert await remains(stores, image.id) == []
    assert await image_repository.unfinished_deletions(0.0, 10) == []


async def test_a_new_image_under_the_same_uri_keeps_its_object(stores, image):
    with pytest.raises(Unavailable):
        await cut_off_after(stores, 3).delete(image.id, COLLECTIONS)
    image_repository, _, object_store = stores
    again = await image_repository.register(NewImage(image.uri))
    await ImageDeletion(*stores).finish(image.id, image.uri, COLLECTIONS)
    assert KEY in object_store.objects
    assert again.id in image_repository.images


@pytest.mark.parametrize("calls", range(5))
async def test_an_interrupted_deletion_keeps_a_recreated_object(stores, image, calls):
    image_repository, _, object_store = stores
    with pytest.raises(Unavailable):
        await cut_off_after(stores, calls).delete_without_object(image.id, COLLECTIONS)
    await object_store.put(KEY, b"a new picture under the same uri, which has no row yet")
    for unfinished in await image_repository.unfinished_deletions(0.0, 10):
        await ImageDeletion(*stores).finish(*unfinished, COLLECTIONS)
    assert KEY in object_store.objects
    if image.id in image_repository.images:  # the event is delivered again
        await ImageDeletion(*stores).delete_without_object(image.id, COLLECTIONS)
    assert await remains(stores, image.id) == ["objects"]


@pytest.mark.parametrize("name", ["queries/7", "queries%5C7"])
async def test_an_image_that_took_the_name_of_another_object_is_deleted_without_it(stores, name):
    """An earlier version made such images out of notices."""
    image_repository, _, object_store = stores
    await object_store.put("queries/7", b"the picture of a query")
    image = await image_repository.register(NewImage(f"s3://{object_store.bucket}/{name}"))
    await ImageDeletion(*stores).delete(image.id, [])
    assert not image_repository.images
    assert await image_repository.unfinished_deletions(0.0, 10) == []
    assert "queries/7" in object_store.objects


@pytest.mark.parametrize("calls", range(12))
async def test_a_deletion_of_many_interrupted_at_any_step_is_completed_later(stores, image, calls):
    image_repository, _, object_store = stores
    other = await image_repository.register(NewImage(object_store.uri("uploads/other.jpg")))
    await object_store.put("uploads/other.jpg", b"picture")
    kept = await image_repository.register(NewImage(object_store.uri("uploads/kept.jpg")))
    try:
        assert await cut_off_after(stores, calls).delete_all([image.id, other.id], COLLECTIONS) == [image.id, other.id]
    except Unavailable:
        for unfinished in await image_repository.unfinished_deletions(0.0, 10):
            await ImageDeletion(*stores).finish(*unfinished, COLLECTIONS)
        if calls == 0:
            return
    assert await remains(stores, image.id) == []
    assert list(image_repository.images) == [kept.id]
    assert object_store.objects == {}
    assert await image_repository.unfinished_deletions(0.0, 10) == []
