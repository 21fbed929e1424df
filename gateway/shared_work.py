"""Results that many callers ask for: computed once, and kept while there is room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


class SharedWork:
    """Results by key, up to ``max_bytes`` in all; the least recently used go first.

    Callers that ask for a result which is being computed wait for the same computation. Errors are not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[Hashable, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._running: dict[Hashable, asyncio.Task[bytes]] = {}

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the result for a key, computing it if necessary; raises what that raises."""
        if key in self._kept:
            return self._kept[key]
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._compute(key, compute))
        # Shielded: others may wait for it when this caller leaves.
        return await asyncio.shield(self._running[key])

    async def _compute(self, key: Hashable, compute: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            result = await compute()
        finally:
            del self._running[key]
        if len(result) <= self._kept.maxsize:
            self._kept[key] = result
        return result
