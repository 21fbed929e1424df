"""Stores the pictures of queries after the answer, several per object. Depends on no framework and no server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from visualsearch.backoff import wait_for_stop
from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.query_images import PACK_BYTES, PREFIX, Part
from visualsearch.observability.metrics import LATER_FAILURES

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from visualsearch.ports import ObjectStore

log = logging.getLogger(__name__)

GATHER_S = 0.2
"""Pictures of this period share an object, because the cost of a put hardly depends on its size."""
MAX_BYTES = 256 * 2**20
"""Maximum number of bytes that wait to be stored. Further pictures are dropped and counted."""


class QueryImageStore:
    """Stores query pictures for training and explanations; none if ``wanted`` is False.

    Pictures that are not stored yet are lost if the process is killed.
    """

    def __init__(self, object_store: ObjectStore, wanted: bool = True) -> None:
        self._object_store = object_store
        self._wanted = wanted
        self._key = ""
        self._pictures: list[bytes] = []
        self._size = 0
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()

    def keep(self, query_id: int, picture: bytes) -> str:
        """Schedule a picture to be stored; return its location, or ``""`` if it is not stored. Returns at once."""
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
        """Store the pictures that wait, within ``timeout_s``."""
        self._draining.set()
        self._put_now()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put_soon(self, key: str) -> None:
        await wait_for_stop(self._draining, GATHER_S)
        if self._key == key:  # otherwise the object was full and is stored already
            self._put_now()

    def _put_now(self) -> None:
        """Schedule the put of this object and start another at once, so that none exceeds the size limit of reads."""
        if self._pictures:
            self._later(self._put(self._key, b"".join(self._pictures), len(self._pictures)))
        self._key, self._pictures, self._size = "", [], 0

    async def _put(self, key: str, pack: bytes, count: int) -> None:
        try:
            await self._object_store.put(key, pack)
        except VisualSearchError as error:
            LATER_FAILURES.labels("query picture").inc(count)
            log.warning("%d query pictures could not be stored: %s", count, error)
        finally:
            self._waiting -= len(pack)
