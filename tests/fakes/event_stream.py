"""The stream of events in memory."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import DeadLetter, Delivery, Event, StreamState

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Entry:
    """An entry of the stream. ``delivered_at`` is None until a consumer reads it."""

    event: Event
    added_at: float
    delivered_at: float | None = None
    deliveries: int = 0
    acknowledged: bool = False


class FakeEventStream:
    """One stream and one group. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self) -> None:
        self.down = False
        self.refused = 0
        self.entries: dict[str, Entry] = {}
        self.dead: dict[str, DeadLetter] = {}
        self.begun: dict[str, int] = {}
        self.leases: dict[str, tuple[str, float]] = {}
        self._number = 0

    def _up(self) -> None:
        if self.down:
            self.refused += 1
            raise Unavailable("Valkey")

    def _next_id(self) -> str:
        self._number += 1
        return f"{self._number}-0"

    async def ensure_group(self) -> None:
        self._up()

    async def publish(self, events: Sequence[Event]) -> None:
        self._up()
        for event in events:
            self.entries[self._next_id()] = Entry(event, time.time())

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[Delivery]:
        self._up()
        found = self._stale(stale_after_s) or self._fresh()
        if not found:
            await asyncio.sleep(block_s)
            self._up()
            found = self._fresh()
        for entry_id in found[:count]:
            entry = self.entries[entry_id]
            entry.delivered_at = time.time()
            entry.deliveries += 1
        return [Delivery(i, self.entries[i].event, self.entries[i].deliveries) for i in found[:count]]

    def _stale(self, stale_after_s: float) -> list[str]:
        before = time.time() - stale_after_s
        return [i for i, e in self._pending().items() if e.delivered_at is not None and e.delivered_at <= before]

    def _fresh(self) -> list[str]:
        return [entry_id for entry_id, entry in self.entries.items() if not entry.deliveries]

    def _pending(self) -> dict[str, Entry]:
        return {i: entry for i, entry in self.entries.items() if entry.deliveries and not entry.acknowledged}

    async def begin_attempt(self, entry_ids: Sequence[str]) -> dict[str, int]:
        self._up()
        before = {entry_id: self.begun.get(entry_id, 0) for entry_id in entry_ids}
        self.begun |= {entry_id: count + 1 for entry_id, count in before.items()}
        return before

    async def end_attempt(self, entry_ids: Sequence[str]) -> None:
        self._up()
        for entry_id in entry_ids:
            self.begun.pop(entry_id, None)

    async def release(self, consumer: str, entry_ids: Sequence[str]) -> None:
        self._up()
        for entry_id in self._pending().keys() & set(entry_ids):
            self.entries[entry_id].delivered_at = 0.0

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        self._up()
        owner, until = self.leases.get(name, (holder, 0.0))
        if owner != holder and until > time.time():
            return False
        self.leases[name] = (holder, time.time() + seconds)
        return True

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        self._up()
        for entry_id in entry_ids:
            if entry_id in self.entries:
                self.entries[entry_id].acknowledged = True

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        await self.acknowledge([delivery.entry_id])
        entry_id = self._next_id()
        self.dead[entry_id] = DeadLetter(entry_id, delivery.event, reason, delivery.deliveries, datetime.now(UTC))

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        self._up()
        return list(reversed(self.dead.values()))[:limit]

    async def requeue(self, entry_ids: Sequence[str]) -> int:
        self._up()
        chosen = [entry_id for entry_id in list(self.dead) if not entry_ids or entry_id in entry_ids]
        await self.publish([self.dead.pop(entry_id).event for entry_id in chosen])
        return len(chosen)

    async def state(self) -> StreamState:
        self._up()
        waiting = [entry for entry in self.entries.values() if not entry.acknowledged]
        oldest = time.time() - min((entry.added_at for entry in waiting), default=time.time())
        return StreamState(len(self._fresh()), len(self._pending()), len(self.dead), max(0.0, oldest))

    async def trim(self) -> int:
        self._up()
        dropped = 0
        for entry_id, entry in list(self.entries.items()):
            if not entry.acknowledged:
                break
            del self.entries[entry_id]
            dropped += 1
        return dropped

    async def check(self) -> None:
        self._up()

    async def close(self) -> None:
        pass
