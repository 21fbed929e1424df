"""The stream of indexing events, in Valkey or Redis."""

from __future__ import annotations

import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError
from typing_extensions import override

from visualsearch.adapters.messages import decode_dead_letter, decode_event, encode_dead_letter, encode_event
from visualsearch.adapters.valkey.valkey_client import GroupGone, ValkeyClient
from visualsearch.domain.indexing import Delivery, StreamState
from visualsearch.ports import EventStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.indexing import DeadLetter, Event

log = logging.getLogger(__name__)

STREAM = "visualsearch:events"
GROUP = "indexers"
DEAD = "visualsearch:dead"
PROBE = "visualsearch:probe"
BEGUN = "visualsearch:begun"
"""Hash of unfinished attempts at redelivered entries."""
LEASE = "visualsearch:lease:"
PAGE = 1000
LONG_AGO_MS = 24 * 3600 * 1000
ENTRY_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


class ValkeyEventStream(ValkeyClient, EventStream):
    """Events in one stream with one consumer group; dead letters are in a second stream.

    Every call but a blocking ``read`` ends within ``timeout_s`` seconds or raises ``Unavailable``.
    """

    @override
    async def ensure_group(self) -> None:
        await self._make_group(STREAM, GROUP)

    @override
    async def publish(self, events: Sequence[Event]) -> None:
        async with self._deadline(), self._redis.pipeline(transaction=False) as pipe:
            for event in events:
                pipe.xadd(STREAM, encode_event(event))
            await pipe.execute()

    @override
    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[Delivery]:
        """Read up to ``count`` events: first those that another consumer has held for too long, then new ones.

        Creates the group again if the server has lost it. A malformed entry is delivered as an event without a uri,
        which the worker moves to the dead letters.
        """
        try:
            async with self._deadline():
                stale = await self._redis.xautoclaim(STREAM, GROUP, consumer, int(stale_after_s * 1000), count=count)
                if stale[2]:
                    log.warning("%d entries left the stream unacknowledged: %s", len(stale[2]), stale[2])
                entries = [(entry_id, fields) for entry_id, fields in stale[1] if fields]
                if entries:
                    deliveries = await self._deliveries(consumer, [entry_id for entry_id, _ in entries])
                    return [Delivery(i, decode_event(f), deliveries.get(i, 1)) for i, f in entries]
            async with self._deadline(block_s):
                fresh = await self._redis.xreadgroup(
                    GROUP, consumer, {STREAM: ">"}, count=count, block=max(1, int(block_s * 1000))
                )
        except GroupGone:
            await self.ensure_group()
            return []
        return [Delivery(i, decode_event(f), 1) for _, batch in fresh or [] for i, f in batch]

    async def _deliveries(self, consumer: str, entry_ids: list[str]) -> dict[str, int]:
        """Return how often each entry was delivered."""
        pending = await self._redis.xpending_range(
            STREAM, GROUP, min=entry_ids[0], max=entry_ids[-1], count=PAGE, consumername=consumer
        )
        return {entry["message_id"]: entry["times_delivered"] for entry in pending}

    @override
    async def begin_attempt(self, entry_ids: Sequence[str]) -> dict[str, int]:
        async with self._deadline(), self._redis.pipeline(transaction=False) as pipe:
            for entry_id in entry_ids:
                pipe.hincrby(BEGUN, entry_id, 1)
            counts = await pipe.execute()
        return {entry_id: count - 1 for entry_id, count in zip(entry_ids, counts, strict=True)}

    @override
    async def end_attempt(self, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            async with self._deadline():
                await self._redis.hdel(BEGUN, *entry_ids)

    @override
    async def release(self, consumer: str, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            async with self._deadline():
                await self._redis.xclaim(STREAM, GROUP, consumer, 0, list(entry_ids), idle=LONG_AGO_MS, justid=True)

    @override
    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        key, milliseconds = LEASE + name, int(seconds * 1000)
        async with self._deadline():
            if await self._redis.set(key, holder, nx=True, px=milliseconds):
                return True
            return bool(await self._redis.get(key) == holder and await self._redis.pexpire(key, milliseconds))

    @override
    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            async with self._deadline():
                await self._redis.xack(STREAM, GROUP, *entry_ids)

    @override
    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        letter = encode_dead_letter(delivery, reason, datetime.now(UTC))
        async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(DEAD, letter)
            pipe.xack(STREAM, GROUP, delivery.entry_id)
            await pipe.execute()

    @override
    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        async with self._deadline():
            entries = await self._redis.xrevrange(DEAD, count=limit)
        return [decode_dead_letter(entry_id, fields) for entry_id, fields in entries]

    @override
    async def requeue(self, entry_ids: Sequence[str]) -> int:
        if entry_ids:
            return await self._requeue([(entry_id, entry_id) for entry_id in entry_ids if ENTRY_ID.fullmatch(entry_id)])
        revived = 0
        # Stop at the newest of now, so that letters that fail again meanwhile are not requeued.
        newest = await self.dead_letters(1)
        while newest and (now := await self._requeue([("-", newest[0].entry_id)])):
            revived += now
        return revived

    async def _requeue(self, spans: Sequence[tuple[str, str]]) -> int:
        """Requeue the dead letters in these ranges of ids, up to a page of each; return how many."""
        async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
            for first, last in spans:
                for entry_id, fields in await self._redis.xrange(DEAD, first, last, count=PAGE):
                    pipe.xadd(STREAM, encode_event(decode_event(fields)))
                    pipe.xdel(DEAD, entry_id)
            return len(await pipe.execute()) // 2

    @override
    async def state(self) -> StreamState:
        async with self._deadline():
            if not await self._redis.exists(STREAM):
                return StreamState(0, 0, await self._redis.xlen(DEAD), 0.0)
            groups = {group["name"]: group for group in await self._redis.xinfo_groups(STREAM)}
            group: dict[str, Any] = groups.get(GROUP, {"lag": None, "pending": 0, "last-delivered-id": "0-0"})
            dead = await self._redis.xlen(DEAD)
            oldest = await self._oldest(str(group["last-delivered-id"]))
        return StreamState(group["lag"], group["pending"], dead, oldest)

    async def _oldest(self, last_delivered: str) -> float:
        """Return the age in seconds of the oldest entry that is not acknowledged."""
        waiting = [entry_id for entry_id, _ in await self._redis.xrange(STREAM, min=f"({last_delivered}", count=1)]
        try:
            pending = await self._redis.xpending(STREAM, GROUP)
        except ResponseError:  # no group, so every entry is waiting
            pending = {"min": None}
        if pending["min"]:
            waiting.append(str(pending["min"]))
        begun = min((int(entry_id.split("-")[0]) for entry_id in waiting), default=0)
        return max(0.0, time.time() - begun / 1000) if begun else 0.0

    @override
    async def trim(self) -> int:
        async with self._deadline():
            if not await self._redis.exists(STREAM):
                return 0
            groups = [group for group in await self._redis.xinfo_groups(STREAM) if group["name"] == GROUP]
            if not groups:
                return 0
            pending = await self._redis.xpending(STREAM, GROUP)
            # Keep pending entries and everything after them. Without pending entries, keep from the last delivered one
            # on.
            keep_from = pending["min"] or groups[0]["last-delivered-id"]
            trimmed: int = await self._redis.xtrim(STREAM, minid=keep_from, approximate=False)
        return trimmed

    @override
    async def check(self) -> None:
        async with self._deadline():
            await self._redis.xadd(PROBE, {"at": str(time.time())}, maxlen=1)
