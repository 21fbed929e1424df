"""The spool's contract, kept by the fake and by Valkey alike."""

import pytest
import redis.asyncio as aioredis

from tests.fakes.spool import FakeSpool
from visualsearch.errors import Overloaded, Unavailable
from visualsearch.interactions import Click, Search
from visualsearch.spool import DEAD, FIELD, STREAM, RedisSpool

NEVER_S = 3600.0
SEARCH = Search(9, "v1", (3, 2, 1), 2**62, True, "1,2,3,4", "queries/9", {"ef": "wide"})
TOLD = [SEARCH, Click(9, 3, 1, 2**62), Search(10, "v1", ())]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def spool(request):
    if request.param == "fake":
        yield FakeSpool(limit=5)
        return
    url, password = request.getfixturevalue("address")
    async with aioredis.Redis.from_url(url, password=password or None) as client:
        await client.flushdb()
    valkey = RedisSpool(url, password, 5.0, limit=5)
    await valkey.read("nobody", 1, 0.01, NEVER_S)  # makes the group
    yield valkey
    await valkey.close()


async def read(spool, consumer="one", count=10, stale_after_s=NEVER_S):
    return await spool.read(consumer, count, 0.05, stale_after_s)


async def test_what_is_told_arrives_whole_and_in_order(spool):
    await spool.append(TOLD)
    first, rest = await read(spool, count=2), await read(spool)
    assert [entry.told for entry in first + rest] == TOLD
    assert await read(spool) == []


async def test_what_is_done_is_forgotten_and_the_rest_waits(spool):
    await spool.append(TOLD)
    entries = await read(spool)
    await spool.done([])
    await spool.done([entry.entry_id for entry in entries[:2]])
    assert await spool.length() == 1
    assert [entry.told for entry in await read(spool, "two", stale_after_s=0)] == TOLD[2:]


async def test_what_a_dead_reader_held_is_taken_over_before_anything_new(spool):
    await spool.append(TOLD[:1])
    await read(spool, "dead")
    await spool.append(TOLD[1:])
    assert [entry.told for entry in await read(spool, "alive", stale_after_s=0)] == TOLD[:1]


async def test_more_than_may_wait_is_refused_and_nothing_of_it_kept(spool):
    await spool.append(TOLD)
    await spool.append(TOLD)
    with pytest.raises(Overloaded, match="wait"):
        await spool.append(TOLD)
    assert await spool.length() == 6
    await spool.done([entry.entry_id for entry in await read(spool)])
    await spool.append(TOLD)


async def test_a_buried_entry_does_not_come_again(spool):
    await spool.append(TOLD[:1])
    (entry,) = await read(spool)
    await spool.bury(entry, "why")
    assert await read(spool, stale_after_s=0) == []
    assert await spool.length() == 0


@pytest.mark.stack
async def test_an_entry_of_unknown_form_is_handed_out_as_such_and_buried_with_its_reason(server, address):
    spool = RedisSpool(*address, 5.0)
    texts = ["", "{", "[]", '{"kind": "click"}', '{"kind": "click", "at": "2026-01-01", "id": "1"}']
    for text in texts:
        await server.xadd(STREAM, {FIELD: text})
    await server.xadd(STREAM, {"other": "x"})
    assert await read(spool) == []  # the group had to be made
    entries = await read(spool)
    assert [entry.told for entry in entries] == [None] * 6
    await spool.bury(entries[1], "why")
    ((_, fields),) = await server.xrange(DEAD)
    assert fields == {FIELD: "{", "reason": "why"}
    await spool.close()


@pytest.mark.stack
async def test_a_server_that_was_emptied_gets_its_group_again(server, address):
    spool = RedisSpool(*address, 5.0)
    await read(spool)
    await server.flushdb()
    await spool.append(TOLD)
    assert await read(spool) == []
    assert len(await read(spool)) == 3
    await spool.forget_readers()
    await spool.close()


async def test_a_server_that_is_away_is_unavailable():
    fake = FakeSpool()
    fake.down = True
    real = RedisSpool("redis://127.0.0.1:1/0", "", 0.5)
    for spool in (fake, real):
        with pytest.raises(Unavailable, match="Valkey"):
            await spool.append(TOLD)
        with pytest.raises(Unavailable, match="Valkey"):
            await read(spool)
        await spool.close()
