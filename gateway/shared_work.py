"""Work that many callers ask for: done once for all of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

T = TypeVar("T")


class PacedWork(Generic[T]):
    """Work that begins at most every ``interval_s`` seconds, however many ask for its result.

    Callers wait for work that begins after they asked, or with them, so no result is older than their question.
    """

    def __init__(self, work: Callable[[], Coroutine[None, None, T]], interval_s: float) -> None:
        self._work = work
        self._interval_s = interval_s
        self._begun = float("-inf")
        self._next: asyncio.Task[T] | None = None

    async def result(self) -> T:
        """Return the result of the next run; raises what that raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        # Shielded: others may wait for it when this caller leaves.
        return await asyncio.shield(self._next)

    async def _run(self) -> T:
        await asyncio.sleep(max(0.0, self._begun + self._interval_s - time.monotonic()))
        self._begun, self._next = time.monotonic(), None
        return await self._work()


class SharedWork:
    """Results by key, up to ``max_bytes`` in all; the least recently used go first.

    Callers that ask for a result which is being computed wait for the same computation. Errors are not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[Hashable, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._running: dict[Hashable, asyncio.Task[bytes]] = {}

    def has(self, key: Hashable) -> bool:
        """Return whether the result for a key is kept or being computed."""
        return key in self._kept or key in self._running

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
