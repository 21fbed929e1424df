"""Keeps the pictures of queries, several to an object, once the answers have gone. Knows no framework and no server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.query_images import PACK_BYTES, PREFIX, Part
from visualsearch.observability.metrics import LATER_FAILURES

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from visualsearch.ports import ObjectStore

log = logging.getLogger(__name__)

GATHER_S = 0.2
"""Pictures of so long a time share an object: to put one costs a store about the same, however large it is."""
MAX_BYTES = 256 * 2**20
"""So many bytes may wait to be stored; what comes beyond is not kept, and counted."""


class QueryImageStore:
    """Keeps pictures for training and explanations. What waits when the process is killed is lost: at most a moment's.

    With ``wanted`` False it keeps none.
    """

    def __init__(self, object_store: ObjectStore, wanted: bool = True) -> None:
        self._object_store = object_store
        self._wanted = wanted
        self._key = ""
        self._pictures: list[bytes] = []
        self._size = 0
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, query_id: int, picture: bytes) -> str:
        """Have a picture stored soon; say where, or ``""`` where it will not be. Returns at once."""
        if not self._wanted:
            return ""
        if self._waiting + len(picture) > MAX_BYTES:
            LATER_FAILURES.labels("dropped").inc()
            return ""
        if not self._pictures:
            self._key = f"{PREFIX}{query_id}"
            self._later(self._put_soon(self._key))
        part = Part(self._key, self._size, self._size + len(picture))
        self._pictures.append(picture)
        self._size += len(picture)
        self._waiting += len(picture)
        if self._size >= PACK_BYTES:
            self._put_now()
        return str(part)

    async def drain(self, timeout_s: float = 5.0) -> None:
        """Store what waits."""
        self._put_now()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put_soon(self, key: str) -> None:
        await asyncio.sleep(GATHER_S)
        if self._key == key:  # else it was full before
            self._put_now()

    def _put_now(self) -> None:
        """Begin another object at once, whenever this one comes to be put: it must not grow beyond what is read."""
        if self._pictures:
            self._later(self._put(self._key, b"".join(self._pictures), len(self._pictures)))
        self._key, self._pictures, self._size = "", [], 0

    async def _put(self, key: str, pack: bytes, count: int) -> None:
        try:
            await self._object_store.put(key, pack)
        except VisualSearchError as error:
            LATER_FAILURES.labels("query picture").inc(count)
            log.warning("%d query pictures could not be kept: %s", count, error)
        finally:
            self._waiting -= len(pack)
