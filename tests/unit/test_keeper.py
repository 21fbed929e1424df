"""Pictures of queries are kept several to an object, and each is found again."""

import asyncio

from prometheus_client import REGISTRY

import gateway.keeper
from gateway.keeper import Keeper
from tests.fakes.blobs import FakeBlobs
from visualsearch.query_pictures import PACK_BYTES, part_named


def failed(work):
    return REGISTRY.get_sample_value("visualsearch_background_failures_total", {"work": work}) or 0


def found(blobs, place):
    part = part_named(place)
    return part.of(blobs.objects[part.key])


async def test_pictures_of_a_moment_share_an_object_and_each_comes_back_whole():
    blobs = FakeBlobs()
    keeper = Keeper(blobs)
    pictures = {query: bytes([query]) * (10 + query) for query in range(5)}
    places = {query: keeper.keep(query, picture) for query, picture in pictures.items()}
    assert not blobs.objects, "nothing is put before the answer has gone"
    await asyncio.sleep(2 * gateway.keeper.GATHER_S)
    assert len(blobs.objects) == 1
    assert {query: found(blobs, place) for query, place in places.items()} == pictures


async def test_an_object_that_is_full_is_put_at_once_and_the_next_picture_begins_another():
    blobs = FakeBlobs()
    keeper = Keeper(blobs)
    first = keeper.keep(1, b"1" * PACK_BYTES)
    await asyncio.sleep(0.01)
    assert found(blobs, first) == b"1" * PACK_BYTES
    second = keeper.keep(2, b"2")
    await keeper.drain()
    assert found(blobs, second) == b"2"
    assert len(blobs.objects) == 2


async def test_no_object_grows_beyond_what_is_read_of_it_however_many_come_at_once():
    blobs = FakeBlobs()
    keeper = Keeper(blobs)
    places = [keeper.keep(query, bytes([query]) * (PACK_BYTES - 1)) for query in range(4)]
    await keeper.drain()
    assert max(map(len, blobs.objects.values())) < 2 * PACK_BYTES
    assert [found(blobs, place)[0] for place in places] == [0, 1, 2, 3]


async def test_a_key_alone_is_the_whole_object():
    assert part_named("queries/17").of(b"picture") == b"picture"


async def test_what_is_not_wanted_or_too_much_is_not_kept(monkeypatch):
    assert Keeper(FakeBlobs(), wanted=False).keep(1, b"1") == ""
    monkeypatch.setattr(gateway.keeper, "MAX_BYTES", 10)
    keeper = Keeper(FakeBlobs())
    dropped = failed("dropped")
    assert keeper.keep(1, b"1" * 10)
    assert keeper.keep(2, b"2") == ""
    assert failed("dropped") == dropped + 1
    await keeper.drain()
    assert keeper.keep(3, b"3"), "there is room again"
    await keeper.drain()


async def test_pictures_that_the_store_does_not_take_are_counted(caplog):
    blobs = FakeBlobs()
    blobs.down = True
    keeper = Keeper(blobs)
    before = failed("query picture")
    keeper.keep(1, b"1")
    keeper.keep(2, b"2")
    await keeper.drain()
    assert failed("query picture") == before + 2
    assert "could not be kept" in caplog.text
