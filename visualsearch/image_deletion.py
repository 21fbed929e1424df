"""Deletes an image everywhere: from Postgres, from the collections, and from the object store.

No transaction spans the three, so the order makes each interruption harmless:

1. Postgres deletes the row and remembers id and uri as an unfinished deletion. From now on the image appears nowhere:
   searches show no id without a row, and an event of the uri waits until the deletion is finished.
2. Its vectors are deleted from every collection, so that it takes no place among the candidates.
3. Its object is deleted, unless another image has the uri by now.
4. Postgres forgets the unfinished deletion.

Every step may be repeated. The sweeper finishes what was interrupted, from step 2 on.

An image whose object has disappeared is deleted in another order, because a new object may have its uri at any moment,
and a deletion that is finished later would remove that one: first the vectors, then the row together with the mark that
the deletion is finished. If it is interrupted, the event that reported it is delivered again.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from visualsearch.ports import ImageRepository, ObjectStore, Vectors


AT_ONCE = 4
"""Objects that are deleted at the same time, so that connections are left for others."""


@dataclass(frozen=True, slots=True)
class ImageDeletion:
    """Deletes images from these stores. Every method raises ``Unavailable`` if a store does not answer."""

    image_repository: ImageRepository
    vectors: Vectors
    object_store: ObjectStore

    async def delete(self, image_id: int, collections: Iterable[str]) -> None:
        """Delete an image; raises ``NotFound``."""
        uri = await self.image_repository.delete(image_id)
        await self.finish(image_id, uri, collections)

    async def delete_all(self, image_ids: Sequence[int], collections: Iterable[str]) -> list[int]:
        """Delete images together, each as ``delete`` does; return the ids of those that existed."""
        uris = await self.image_repository.delete_all(image_ids)
        await self._delete_vectors(list(uris), collections)
        turns = asyncio.Semaphore(AT_ONCE)

        async def finish(image_id: int, uri: str) -> None:
            async with turns:
                await self._delete_object(image_id, uri)

        await asyncio.gather(*(finish(*one) for one in uris.items()))
        return sorted(uris)

    async def delete_without_object(self, image_id: int, collections: Sequence[str]) -> None:
        """Delete an image whose object is gone; raises ``NotFound``. Leaves the object store alone."""
        await self._delete_vectors([image_id], collections)
        await self.image_repository.delete(image_id, finished=True)
        await self._delete_vectors([image_id], collections)  # a build may have written one meanwhile

    async def finish(self, image_id: int, uri: str, collections: Iterable[str]) -> None:
        """Complete a deletion whose row is gone already."""
        await self._delete_vectors([image_id], collections)
        await self._delete_object(image_id, uri)

    async def _delete_object(self, image_id: int, uri: str) -> None:
        if await self.image_repository.by_uri(uri) is None:
            with contextlib.suppress(InvalidInput):  # the key is no picture's, so the object was never this image's
                await self.object_store.delete(self.object_store.key(uri))
        await self.image_repository.finish_deletion(image_id)

    async def _delete_vectors(self, image_ids: Sequence[int], collections: Iterable[str]) -> None:
        for collection in collections:
            await self.vectors.delete(collection, image_ids)
