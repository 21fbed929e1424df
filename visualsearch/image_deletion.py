"""Deletes an image everywhere: from Postgres, from the collections, and from the object store.

No transaction spans the three, so the order makes each interruption harmless:

1. Postgres deletes the row and remembers id and uri as an unfinished deletion. From now on the image appears nowhere:
   searches show no id without a row, and an event of the uri waits until the deletion is finished.
2. Its vectors are deleted from every collection, so that it takes no place among the candidates.
3. Its object is deleted, unless another image has the uri by now.
4. Postgres forgets the unfinished deletion.

Every step may be repeated. The sweeper finishes what was interrupted, from step 2 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from visualsearch.ports import ImageRepository, ObjectStore, Vectors


@dataclass(frozen=True, slots=True)
class ImageDeletion:
    """Deletes images from these stores. Every method raises ``Unavailable`` if a store does not answer."""

    image_repository: ImageRepository
    vectors: Vectors
    object_store: ObjectStore

    async def delete(self, image_id: int, collections: Iterable[str], *, object_is_gone: bool = False) -> None:
        """Delete an image; raises ``NotFound``.

        With ``object_is_gone``, the object store is left alone: a new object may have this uri at any moment.
        """
        uri = await self.image_repository.delete(image_id)
        if object_is_gone:
            await self._delete_vectors(image_id, collections)
            await self.image_repository.finish_deletion(image_id)
        else:
            await self.finish(image_id, uri, collections)

    async def finish(self, image_id: int, uri: str, collections: Iterable[str]) -> None:
        """Complete a deletion whose row is gone already."""
        await self._delete_vectors(image_id, collections)
        if await self.image_repository.by_uri(uri) is None:
            await self.object_store.delete(self.object_store.key(uri))
        await self.image_repository.finish_deletion(image_id)

    async def _delete_vectors(self, image_id: int, collections: Iterable[str]) -> None:
        for collection in collections:
            await self.vectors.delete(collection, [image_id])
