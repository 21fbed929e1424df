"""Contract of the event stream, tested with the fake and Valkey."""

import asyncio

import pytest
import redis.asyncio as aioredis

from tests.eventually import eventually
from tests.fakes.event_stream import FakeEventStream
from visualsearch.adapters.valkey.event_stream import DEAD, GROUP, STREAM, ValkeyEventStream
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import Event, EventKind

NEVER_S = 3600.0
MADE = [Event(EventKind.CREATED, f"s3://images/{name}", number) for number, name in enumerate("abc", 1)]
GONE = Event(EventKind.DELETED, "s3://images/ü%20", None, "etag")


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def events(request):
    if request.param == "fake":
        yield FakeEventStream()
        return
    url, password = request.getfixturevalue("address")
    async with aioredis.Redis.from_url(url, password=password or None) as client:
        await client.flushdb()
    valkey = ValkeyEventStream(url, password, 5.0)
    await valkey.ensure_group()
    yield valkey
    await valkey.close()


@pytest.fixture
async def valkey(server, address):
    valkey = ValkeyEventStream(*address, 5.0)
    await valkey.ensure_group()
    yield valkey
    await valkey.close()


async def read(events, consumer="one", count=10, stale_after_s=NEVER_S):
    return await events.read(consumer, count, 0.05, stale_after_s)


async def test_events_arrive_whole_and_in_order(events):
    await events.ensure_group()
    await events.publish([*MADE, GONE])
    first, rest = await read(events, count=3), await read(events)
    assert [delivery.event for delivery in first + rest] == [*MADE, GONE]
    assert {delivery.deliveries for delivery in first + rest} == {1}
    assert await read(events) == []


async def test_each_event_goes_to_one_consumer(events):
    await events.publish(MADE)
    one, two = await read(events, "one", 2), await read(events, "two", 2)
    assert [delivery.event for delivery in one + two] == MADE


async def test_pending_entries_of_a_dead_consumer_are_claimed_before_new_ones(events):
    await events.publish(MADE)
    await read(events, "dead", 2)
    taken = await read(events, "alive", stale_after_s=0)
    assert [delivery.event for delivery in taken] == MADE[:2]
    assert {delivery.deliveries for delivery in taken} == {2}
    assert [delivery.event for delivery in await read(events, "alive")] == MADE[2:]


async def test_an_acknowledged_entry_is_not_delivered_again(events):
    await events.publish(MADE)
    await events.acknowledge([delivery.entry_id for delivery in await read(events)])
    await events.acknowledge([])
    assert await read(events, stale_after_s=0) == []


async def test_a_dead_lettered_event_is_only_among_the_dead_letters(events):
    await events.publish([MADE[0], GONE])
    for delivery in await read(events):
        await events.dead_letter(delivery, f"because of {delivery.event.uri}")
    newest, oldest = await events.dead_letters(10)
    assert (newest.event, newest.reason, newest.deliveries) == (GONE, f"because of {GONE.uri}", 1)
    assert oldest.event == MADE[0]
    assert await events.dead_letters(1) == [newest]
    assert await read(events, stale_after_s=0) == []


async def test_dead_letters_can_be_requeued_by_id_or_all_at_once(events):
    await events.publish(MADE)
    for delivery in await read(events):
        await events.dead_letter(delivery, "why")
    letters = await events.dead_letters(10)
    assert await events.requeue([letters[0].entry_id, "no-id", "1-1"]) == 1
    assert [delivery.event for delivery in await read(events)] == [letters[0].event]
    assert await events.requeue([]) == 2
    assert await events.requeue([]) == 0
    assert [delivery.event for delivery in await read(events)] == MADE[:2]


async def test_the_stream_state_shows_the_backlog(events):
    idle = await events.state()
    assert (idle.lag, idle.pending, idle.dead_letters, idle.oldest_pending_s) == (0, 0, 0, 0.0)
    await events.publish(MADE)

    async def unread():
        fresh = await events.state()
        assert (fresh.lag, fresh.pending) == (3, 0)
        return fresh.oldest_pending_s > 0

    assert await eventually(unread), "what nobody has read yet counts too"
    first, second = await read(events, count=2)
    await events.acknowledge([first.entry_id])
    await events.dead_letter(second, "why")
    await read(events)
    last = await events.state()
    assert (last.lag, last.pending, last.dead_letters) == (0, 1, 1)
    assert last.oldest_pending_s > 0


async def test_trimming_keeps_entries_that_are_not_acknowledged(events):
    await events.publish(MADE)
    first, second = await read(events, count=2)
    await events.acknowledge([first.entry_id])
    await events.trim()
    assert [delivery.event for delivery in await read(events, stale_after_s=0)] == [second.event]
    assert [delivery.event for delivery in await read(events)] == MADE[2:]


async def test_trimming_drops_acknowledged_entries(events):
    await events.publish(MADE)
    await events.acknowledge([delivery.entry_id for delivery in await read(events)])
    assert await events.trim() >= 2
    assert (await events.state()).pending == 0


async def test_a_check_of_a_working_server_raises_nothing(events):
    await events.check()
    assert await read(events) == []


async def test_a_server_that_is_down_raises_unavailable():
    fake = FakeEventStream()
    fake.down = True
    real = ValkeyEventStream("redis://127.0.0.1:1/0", "", 0.5)
    for events in (fake, real):
        for call in (events.check(), events.publish(MADE), events.read("one", 1, 0.05, 1), events.state()):
            with pytest.raises(Unavailable, match="Valkey"):
                await call
        await events.close()


@pytest.mark.stack
async def test_a_flushed_stream_is_recreated_automatically(valkey, server):
    await valkey.publish(MADE)
    await read(valkey)
    await server.flushdb()
    assert (await valkey.state()).pending == 0
    assert await valkey.trim() == 0
    await valkey.publish(MADE)
    assert (await valkey.state()).oldest_pending_s >= 0
    found = await read(valkey) or await read(valkey)
    assert [delivery.event for delivery in found] == MADE


@pytest.mark.stack
@pytest.mark.parametrize(
    "fields",
    [
        {"what": "ever"},
        {"kind": "exploded", "uri": "s3://images/a"},
        {"kind": "created", "uri": "s3://images/\x00"},
        {"kind": "created", "uri": b"s3://images/\xff"},
        {"kind": "created", "uri": "s3://images/a", "image_id": "9" * 5000},
        {"kind": "created", "uri": "s3://images/a", "image_id": "-1"},
        {b"\xff": b"\xfe"},
    ],
)
async def test_a_malformed_entry_is_delivered_and_does_not_block_others(valkey, server, fields):
    await valkey.publish(MADE[:1])
    await server.xadd(STREAM, fields)
    await valkey.publish(MADE[1:])
    found = await read(valkey)
    assert [delivery.event for delivery in found if delivery.event.image_id] == MADE
    (strange,) = [delivery for delivery in found if not delivery.event.image_id]
    await valkey.dead_letter(strange, "unknown form")
    assert (await valkey.dead_letters(1))[0].reason == "unknown form"


@pytest.mark.stack
async def test_dead_lettering_acknowledges_in_the_same_step(valkey, server):
    await valkey.publish(MADE[:1])
    (delivery,) = await read(valkey)
    await valkey.dead_letter(delivery, "why")
    assert (await server.xpending(STREAM, GROUP))["pending"] == 0
    assert await server.xlen(DEAD) == 1


async def test_started_attempts_are_counted_until_they_finish(events):
    assert await events.begin_attempt(["1-0", "2-0"]) == {"1-0": 0, "2-0": 0}
    assert await events.begin_attempt(["1-0"]) == {"1-0": 1}
    await events.end_attempt(["1-0"])
    assert await events.begin_attempt(["1-0", "2-0"]) == {"1-0": 0, "2-0": 1}
    await events.end_attempt([])
    await events.end_attempt(["1-0", "2-0"])


async def test_a_released_entry_goes_to_the_next_consumer_and_its_attempt_is_not_counted(events):
    await events.publish([GONE])
    (first,) = await events.read("one", 10, 0.01, 3600)
    assert await events.read("two", 10, 0.01, 3600) == []
    await events.release("one", [first.entry_id])
    (second,) = await events.read("two", 10, 0.01, 3600)
    assert (second.entry_id, second.deliveries) == (first.entry_id, 2)
    await events.release("two", [])


async def test_only_one_process_holds_a_lease_until_it_ends(events):
    assert await events.lease("task", "one", 0.3)
    assert not await events.lease("task", "two", 0.3)
    assert await events.lease("task", "one", 0.3)
    await eventually(lambda: events.lease("task", "two", 0.3))
    assert not await events.lease("task", "one", 0.3)


@pytest.mark.stack
async def test_entries_that_were_trimmed_while_pending_are_reported(valkey, server, caplog):
    await valkey.publish(MADE)
    held = await read(valkey)
    await server.xdel(STREAM, held[0].entry_id)
    assert len(await read(valkey, "two", stale_after_s=0.0)) == len(MADE) - 1
    assert held[0].entry_id in caplog.text


@pytest.mark.stack
async def test_connections_that_the_server_closed_are_replaced_without_an_error(valkey, server):
    await asyncio.gather(*(valkey.publish(MADE) for _ in range(4)))  # over four connections
    await server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.1)
    for _ in range(8):
        await valkey.publish(MADE)
    assert await server.xlen(STREAM) == 12 * len(MADE)
