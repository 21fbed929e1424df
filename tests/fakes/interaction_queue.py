"""The interaction queue in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from visualsearch.adapters.messages import decode_interaction, encode_interaction
from visualsearch.domain.errors import Overloaded, Unavailable
from visualsearch.domain.interactions import QueuedInteraction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.interactions import Interaction


class FakeInteractionQueue:
    """One stream and one group. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self, limit: int = 1000) -> None:
        self.down = False
        self.refused = 0
        self.entries: dict[str, str] = {}
        self.read_at: dict[str, float] = {}
        self.dead: list[tuple[str, str]] = []
        self._limit = limit
        self._number = 0

    @property
    def interactions(self) -> list[Interaction]:
        """Return the queued interactions, in order."""
        return [one for text in self.entries.values() if (one := decode_interaction(text))]

    def _up(self) -> None:
        if self.down:
            self.refused += 1
            raise Unavailable("Valkey")

    async def append(self, interactions: Sequence[Interaction]) -> None:
        self._up()
        if len(self.entries) >= self._limit:
            raise Overloaded("Too many interactions wait to be written already.")
        for one in interactions:
            self._number += 1
            self.entries[f"{self._number}-0"] = encode_interaction(one)

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[QueuedInteraction]:
        self._up()
        before = time.monotonic() - stale_after_s
        found = [entry_id for entry_id, at in self.read_at.items() if at <= before]
        found = found or [entry_id for entry_id in self.entries if entry_id not in self.read_at]
        if not found:
            await asyncio.sleep(block_s)
        self.read_at |= dict.fromkeys(found[:count], time.monotonic())
        return [
            QueuedInteraction(one, self.entries[one], decode_interaction(self.entries[one])) for one in found[:count]
        ]

    async def done(self, entry_ids: Sequence[str]) -> None:
        self._up()
        for entry_id in entry_ids:
            self.entries.pop(entry_id, None)
            self.read_at.pop(entry_id, None)

    async def dead_letter(self, entry: QueuedInteraction, reason: str) -> None:
        await self.done([entry.entry_id])
        self.dead.append((entry.text, reason))

    async def length(self) -> int:
        self._up()
        return len(self.entries)

    async def remove_idle_consumers(self) -> None:
        self._up()

    async def close(self) -> None:
        pass
