"""Removes images whose files are no longer in their folder."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput, Unavailable
from visualsearch.domain.indexing import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from collections.abc import Set as AbstractSet

    from visualsearch.domain.images import Image
    from visualsearch.ports import EventStream, ImageRepository, ObjectStore

PAGE = 1000
LOOK_EVERY_S = 0.1
PATIENCE_S = 120.0


class Pruning:
    """Finds and removes images below keys. The indexer removes rows and vectors, as for any object that disappears."""

    def __init__(self, object_store: ObjectStore, image_repository: ImageRepository, events: EventStream) -> None:
        self._object_store = object_store
        self._image_repository = image_repository
        self._events = events

    async def gone(self, keys: Sequence[str], seen: AbstractSet[int], unread: Sequence[str] = ()) -> list[Image]:
        """Return the images at or below these keys that a run has not seen, except for those below ``unread`` keys.

        ``seen`` holds the hashes of uris, as ``Summary.seen`` does. An image is returned once, also if a key lies below
        another one.
        """
        kept = tuple(self._object_store.uri_prefix(f"{key}/") for key in unread)
        gone = {
            image.id: image
            for key in keys
            async for image in self._below(key)
            if hash(image.uri) not in seen and not image.uri.startswith(kept)
        }
        return list(gone.values())

    async def _below(self, key: str) -> AsyncIterator[Image]:
        uri = self._object_store.uri_prefix(key)
        if (image := await self._image_repository.by_uri(uri)) is not None:
            yield image
        below = last = f"{uri}/"
        while page := await self._image_repository.after_uri(last, PAGE):
            for image in page:
                if not image.uri.startswith(below):
                    return
                yield image
            last = page[-1].uri

    async def remove(self, images: Sequence[Image]) -> None:
        """Remove images; return when they are gone from the corpus.

        Raises ``Unavailable`` if the indexer makes no progress for two minutes. If interrupted, run it again.
        """
        for begin in range(0, len(images), PAGE):
            page = images[begin : begin + PAGE]
            await asyncio.gather(*map(self._delete_object, page))
            await self._events.publish([Event(EventKind.DELETED, image.uri, image.id) for image in page])
            await self._wait_until_gone([image.id for image in page])

    async def _delete_object(self, image: Image) -> None:
        with contextlib.suppress(InvalidInput):  # the key is no picture's, so there is no object
            await self._object_store.delete(self._object_store.key(image.uri))

    async def _wait_until_gone(self, image_ids: Sequence[int]) -> None:
        left, last_change = set(image_ids), time.monotonic()
        while found := await self._image_repository.by_ids(sorted(left)):
            if len(found) < len(left):
                left, last_change = set(found), time.monotonic()
            elif time.monotonic() - last_change > PATIENCE_S:
                raise Unavailable("The indexer", f"{len(left)} images wait to be removed; is it up?")
            await asyncio.sleep(LOOK_EVERY_S)
