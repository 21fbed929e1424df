"""Several query pictures are stored in one object, and each can be read back."""

from prometheus_client import REGISTRY

from gateway.interactions import query_image_store as storing
from gateway.interactions.query_image_store import QueryImageStore
from tests.eventually import eventually
from tests.fakes.object_store import FakeObjectStore
from visualsearch.domain.query_images import PACK_BYTES, part_named


def failed(work):
    return REGISTRY.get_sample_value("visualsearch_background_failures_total", {"work": work}) or 0


def found(object_store, place):
    part = part_named(place)
    return part.of(object_store.objects[part.key])


async def test_pictures_of_a_short_period_share_an_object_and_each_is_read_back_unchanged():
    object_store = FakeObjectStore()
    query_image_store = QueryImageStore(object_store)
    pictures = {query: bytes([query]) * (10 + query) for query in range(5)}
    places = {query: query_image_store.keep(query, picture) for query, picture in pictures.items()}
    assert not object_store.objects, "nothing is put before the answer has gone"
    await eventually(lambda: object_store.objects)
    await query_image_store.drain()
    assert len(object_store.objects) == 1
    assert {query: found(object_store, place) for query, place in places.items()} == pictures


async def test_a_full_object_is_stored_at_once_and_the_next_picture_starts_another():
    object_store = FakeObjectStore()
    query_image_store = QueryImageStore(object_store)
    first = query_image_store.keep(1, b"1" * PACK_BYTES)
    await eventually(lambda: object_store.objects, within_s=storing.GATHER_S / 2)
    assert found(object_store, first) == b"1" * PACK_BYTES
    second = query_image_store.keep(2, b"2")
    await query_image_store.drain()
    assert found(object_store, second) == b"2"
    assert len(object_store.objects) == 2


async def test_no_object_exceeds_the_size_limit_of_reads_under_concurrent_pictures():
    object_store = FakeObjectStore()
    query_image_store = QueryImageStore(object_store)
    places = [query_image_store.keep(query, bytes([query]) * (PACK_BYTES - 1)) for query in range(4)]
    await query_image_store.drain()
    assert max(map(len, object_store.objects.values())) < 2 * PACK_BYTES
    assert [found(object_store, place)[0] for place in places] == [0, 1, 2, 3]


async def test_a_location_without_a_range_is_the_whole_object():
    assert part_named("queries/17").of(b"picture") == b"picture"


async def test_disabled_or_excess_pictures_are_not_stored(monkeypatch):
    assert QueryImageStore(FakeObjectStore(), wanted=False).keep(1, b"1") == ""
    monkeypatch.setattr(storing, "MAX_BYTES", 10)
    query_image_store = QueryImageStore(FakeObjectStore())
    dropped = failed("dropped")
    assert query_image_store.keep(1, b"1" * 10)
    assert query_image_store.keep(2, b"2") == ""
    assert failed("dropped") == dropped + 1
    await query_image_store.drain()
    assert query_image_store.keep(3, b"3"), "there is room again"
    await query_image_store.drain()


async def test_pictures_that_the_store_does_not_take_are_counted(caplog):
    object_store = FakeObjectStore()
    object_store.down = True
    query_image_store = QueryImageStore(object_store)
    before = failed("query picture")
    query_image_store.keep(1, b"1")
    query_image_store.keep(2, b"2")
    await query_image_store.drain()
    assert failed("query picture") == before + 2
    assert "could not be stored" in caplog.text
