"""Contract of the interaction queue, tested with the fake and Valkey."""

import pytest
import redis.asyncio as aioredis

from tests.fakes.interaction_queue import FakeInteractionQueue
from visualsearch.adapters.valkey.interaction_queue import DEAD, FIELD, STREAM, ValkeyInteractionQueue
from visualsearch.domain.errors import Overloaded, Unavailable
from visualsearch.domain.interactions import Click, Search

NEVER_S = 3600.0
SEARCH = Search(9, "v1", (3, 2, 1), 2**62, True, "1,2,3,4", "queries/9", {"ef": "wide"})
TOLD = [SEARCH, Click(9, 3, 1, 2**62), Search(10, "v1", ())]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def interaction_queue(request):
    if request.param == "fake":
        yield FakeInteractionQueue(limit=5)
        return
    url, password = request.getfixturevalue("address")
    async with aioredis.Redis.from_url(url, password=password or None) as client:
        await client.flushdb()
    valkey = ValkeyInteractionQueue(url, password, 5.0, limit=5)
    await valkey.read("nobody", 1, 0.01, NEVER_S)  # makes the group
    yield valkey
    await valkey.close()


async def read(interaction_queue, consumer="one", count=10, stale_after_s=NEVER_S):
    return await interaction_queue.read(consumer, count, 0.05, stale_after_s)


async def test_queued_interactions_arrive_complete_and_in_order(interaction_queue):
    await interaction_queue.append(TOLD)
    first, rest = await read(interaction_queue, count=2), await read(interaction_queue)
    assert [entry.interaction for entry in first + rest] == TOLD
    assert await read(interaction_queue) == []


async def test_acknowledged_entries_are_removed_and_the_others_remain(interaction_queue):
    await interaction_queue.append(TOLD)
    entries = await read(interaction_queue)
    await interaction_queue.done([])
    await interaction_queue.done([entry.entry_id for entry in entries[:2]])
    assert await interaction_queue.length() == 1
    assert [entry.interaction for entry in await read(interaction_queue, "two", stale_after_s=0)] == TOLD[2:]


async def test_pending_entries_of_a_dead_reader_are_claimed_before_new_ones(interaction_queue):
    await interaction_queue.append(TOLD[:1])
    await read(interaction_queue, "dead")
    await interaction_queue.append(TOLD[1:])
    assert [entry.interaction for entry in await read(interaction_queue, "alive", stale_after_s=0)] == TOLD[:1]


async def test_a_batch_beyond_the_queue_limit_is_refused_as_a_whole(interaction_queue):
    await interaction_queue.append(TOLD)
    await interaction_queue.append(TOLD)
    with pytest.raises(Overloaded, match="wait"):
        await interaction_queue.append(TOLD)
    assert await interaction_queue.length() == 6
    await interaction_queue.done([entry.entry_id for entry in await read(interaction_queue)])
    await interaction_queue.append(TOLD)


async def test_a_dead_lettered_entry_is_not_delivered_again(interaction_queue):
    await interaction_queue.append(TOLD[:1])
    (entry,) = await read(interaction_queue)
    await interaction_queue.dead_letter(entry, "why")
    assert await read(interaction_queue, stale_after_s=0) == []
    assert await interaction_queue.length() == 0


@pytest.mark.stack
async def test_a_malformed_entry_is_delivered_as_such_and_dead_lettered_with_its_reason(server, address):
    interaction_queue = ValkeyInteractionQueue(*address, 5.0)
    texts = ["", "{", "[]", '{"kind": "click"}', '{"kind": "click", "at": "2026-01-01", "id": "1"}']
    for text in texts:
        await server.xadd(STREAM, {FIELD: text})
    await server.xadd(STREAM, {"other": "x"})
    assert await read(interaction_queue) == []  # the group had to be made
    entries = await read(interaction_queue)
    assert [entry.interaction for entry in entries] == [None] * 6
    await interaction_queue.dead_letter(entries[1], "why")
    ((_, fields),) = await server.xrange(DEAD)
    assert fields == {FIELD: "{", "reason": "why"}
    await interaction_queue.close()


@pytest.mark.stack
async def test_the_consumer_group_is_recreated_after_a_flush(server, address):
    interaction_queue = ValkeyInteractionQueue(*address, 5.0)
    await read(interaction_queue)
    await server.flushdb()
    await interaction_queue.append(TOLD)
    assert await read(interaction_queue) == []
    assert len(await read(interaction_queue)) == 3
    await interaction_queue.remove_idle_consumers()
    await interaction_queue.close()


async def test_a_server_that_is_down_raises_unavailable():
    fake = FakeInteractionQueue()
    fake.down = True
    real = ValkeyInteractionQueue("redis://127.0.0.1:1/0", "", 0.5)
    for interaction_queue in (fake, real):
        with pytest.raises(Unavailable, match="Valkey"):
            await interaction_queue.append(TOLD)
        with pytest.raises(Unavailable, match="Valkey"):
            await read(interaction_queue)
        await interaction_queue.close()
