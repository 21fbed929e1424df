"""The interaction queue in Valkey or Redis: interactions wait here until they are written to Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.adapters.messages import decode_interaction, encode_interaction
from visualsearch.adapters.valkey.valkey_client import GroupGone, ValkeyClient
from visualsearch.domain.errors import Overloaded
from visualsearch.domain.interactions import QueuedInteraction
from visualsearch.ports import InteractionQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.interactions import Interaction
    from visualsearch.tls import ClientTLS

STREAM = "visualsearch:interactions"
GROUP = "writers"
DEAD = "visualsearch:interactions:dead"
FIELD = "told"
DEAD_LETTERS = 1000
"""Number of dead letters that are kept."""
MAX_QUEUED = 500_000
"""Largest number of waiting entries of about 1 kB. Valkey's memory also holds the indexing events."""
FORGOTTEN_MS = 3600 * 1000
"""A consumer without entries that was idle for this long is removed."""


class ValkeyInteractionQueue(ValkeyClient, InteractionQueue):
    """One stream with one consumer group. Written entries are removed, so the stream holds only waiting ones.

    Every call but a blocking ``read`` ends within ``timeout_s`` seconds or raises ``Unavailable``.
    """

    def __init__(
        self, url: str, password: str, timeout_s: float, tls: ClientTLS | None = None, *, limit: int = MAX_QUEUED
    ) -> None:
        super().__init__(url, password, timeout_s, tls)
        self._limit = limit
        self._length = 0

    @override
    async def append(self, interactions: Sequence[Interaction]) -> None:
        if self._length >= self._limit:
            self._length = await self.length()
        if self._length >= self._limit:
            raise Overloaded(f"{self._length} interactions wait to be written already. Try again shortly.")
        async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
            for one in interactions:
                pipe.xadd(STREAM, {FIELD: encode_interaction(one)})
            pipe.xlen(STREAM)
            self._length = (await pipe.execute())[-1]

    @override
    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[QueuedInteraction]:
        try:
            async with self._deadline():
                stale = await self._redis.xautoclaim(STREAM, GROUP, consumer, int(stale_after_s * 1000), count=count)
            if stale[1]:
                return [_queued_interaction(entry_id, fields) for entry_id, fields in stale[1]]
            async with self._deadline(block_s):
                fresh = await self._redis.xreadgroup(
                    GROUP, consumer, {STREAM: ">"}, count=count, block=max(1, int(block_s * 1000))
                )
        except GroupGone:
            await self._make_group(STREAM, GROUP)
            return []
        return [_queued_interaction(entry_id, fields) for _, batch in fresh or [] for entry_id, fields in batch]

    @override
    async def done(self, entry_ids: Sequence[str]) -> None:
        if entry_ids:
            async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(STREAM, GROUP, *entry_ids)
                pipe.xdel(STREAM, *entry_ids)
                await pipe.execute()

    @override
    async def dead_letter(self, entry: QueuedInteraction, reason: str) -> None:
        async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(DEAD, {FIELD: entry.text, "reason": reason}, maxlen=DEAD_LETTERS)
            pipe.xack(STREAM, GROUP, entry.entry_id)
            pipe.xdel(STREAM, entry.entry_id)
            await pipe.execute()

    @override
    async def length(self) -> int:
        async with self._deadline():
            length: int = await self._redis.xlen(STREAM)
        return length

    @override
    async def remove_idle_consumers(self) -> None:
        try:
            async with self._deadline():
                for one in await self._redis.xinfo_consumers(STREAM, GROUP):
                    if not one["pending"] and one["idle"] > FORGOTTEN_MS:
                        await self._redis.xgroup_delconsumer(STREAM, GROUP, one["name"])
        except GroupGone:
            return


def _queued_interaction(entry_id: str, fields: dict[str, str] | None) -> QueuedInteraction:
    text = (fields or {}).get(FIELD, "")
    return QueuedInteraction(entry_id, text, decode_interaction(text))
