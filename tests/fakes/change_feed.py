"""The object store's change log in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.fakes.object_store import FakeObjectStore
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import Change, EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = 1000
QUIET_S = 0.02


class FakeChangeFeed:
    """A log that tests append to with ``note``. While ``down`` is set, reading it raises ``Unavailable``."""

    def __init__(self) -> None:
        self.down = False
        self.log: list[Change] = []

    def note(self, kind: EventKind, key: str, etag: str = "") -> Change:
        """Append a change with a later time than all others."""
        newest = self.log[-1].at_ns if self.log else 0
        self.log.append(Change(kind, key, etag, max(time.time_ns(), newest + 1)))
        return self.log[-1]

    async def follow(self, since_ns: int) -> AsyncIterator[list[Change]]:
        told = sum(change.at_ns <= since_ns for change in self.log)
        while True:
            if self.down:
                raise Unavailable("The object store's change log")
            page = self.log[told : told + PAGE]
            if not page:
                await asyncio.sleep(QUIET_S)
            told += len(page)
            yield page

    async def close(self) -> None:
        self.down = True


class NotedBlobs(FakeObjectStore):
    """Objects in memory that record their changes in a feed."""

    def __init__(self, changes: FakeChangeFeed, bucket: str = "images") -> None:
        super().__init__(bucket)
        self._changes = changes

    async def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> str:
        etag = await super().put(key, data, content_type)
        self._changes.note(EventKind.CREATED, key, etag)
        return etag

    async def delete(self, key: str) -> None:
        if key in self.objects:
            self._changes.note(EventKind.DELETED, key, await self.etag(key))
        await super().delete(key)
