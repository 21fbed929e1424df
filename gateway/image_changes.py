"""Changes the source and the visibility of images. Depends on no framework and no server."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.limits.caller_limits import current_account
from gateway.limits.costs import INDEX_MS
from visualsearch.domain.errors import Forbidden, InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.domain.indexing import Event, EventKind, ObjectMetadata
from visualsearch.imaging.formats.table import content_type
from visualsearch.observability import tracing

if TYPE_CHECKING:
    from gateway.caller import Caller
    from gateway.image_service import ImageService
    from visualsearch.domain.images import Image, ImageChange
    from visualsearch.ports import EventStream, ImageRepository, ObjectStore


@dataclass(frozen=True, slots=True)
class ImageChanges:
    """Changes an image in every store.

    Its row changes first and is pending from then on, so nobody finds the image by its old values. The object's
    metadata, which counts if the row is ever lost, comes next. An indexer then writes the vectors anew. If that is
    interrupted, the sweeper announces the image again.
    """

    images: ImageService
    image_repository: ImageRepository
    object_store: ObjectStore
    events: EventStream

    async def change(self, image_id: int, change: ImageChange, caller: Caller) -> Image:
        """Change an image and return it, pending.

        Raises ``NotFound``; ``Forbidden`` unless the caller owns it or is an administrator.
        """
        if not caller.may_change(await self.images.get(image_id, caller)):
            raise Forbidden("Only its owner or an administrator may change this image.")
        current_account().charge(INDEX_MS)  # the indexer's part
        image = await self.image_repository.change(image_id, change)
        await self._write_metadata(image)
        await self.events.publish([Event(EventKind.CREATED, image.uri, image.id, traceparent=tracing.traceparent())])
        return image

    async def _write_metadata(self, image: Image) -> None:
        metadata = ObjectMetadata(image.owner, image.visibility, image.source)
        with suppress(NotFound, InvalidInput):  # the indexer says what is wrong with the object
            key = self.object_store.key(image.uri)
            stored = await self.object_store.fetch(key, MAX_UPLOAD_BYTES)
            if stored.metadata != metadata:
                await self.object_store.put(key, stored.data, content_type(stored.data), metadata)
