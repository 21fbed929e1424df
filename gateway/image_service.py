"""Accepts, serves and deletes images. Depends on no framework and no server."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from typing import TYPE_CHECKING

from gateway.limits.caller_limits import current_account
from gateway.limits.costs import BASE_MS, INDEX_MS, THUMBNAIL_MS
from gateway.shared_work import SharedWork
from visualsearch.domain.errors import Forbidden, NotFound, Unavailable
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Image, ImageSelection, NewImage, Status, Visibility
from visualsearch.domain.indexing import Event, EventKind, ObjectMetadata, simple_etag
from visualsearch.domain.object_keys import UPLOADS
from visualsearch.domain.releases import PIXEL_REVISION
from visualsearch.imaging.formats.table import content_type, format_of
from visualsearch.imaging.preprocessing import thumbnail
from visualsearch.observability import tracing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.caller import Caller
    from gateway.search.decoder import Decoder
    from visualsearch.domain.images import ImagePage, Quota
    from visualsearch.domain.search import Blocklist
    from visualsearch.image_deletion import ImageDeletion
    from visualsearch.ports import EventStream, ImageRepository, MalwareScanner, ObjectStore

log = logging.getLogger(__name__)

POLL_S = 0.1
"""Interval at which the status of a pending image is polled for a waiting caller."""
JPEG = "image/jpeg"
THUMBNAIL_BYTES = 32 * 1024 * 1024
"""Thumbnails that one process keeps. One of 256 pixels has about 15 KB."""


class ImageService:
    """Accepts, serves and deletes images. ``deadline_s`` bounds the total time of the servers that one upload needs."""

    def __init__(
        self,
        decoder: Decoder,
        image_repository: ImageRepository,
        events: EventStream,
        object_store: ObjectStore,
        deletion: ImageDeletion,
        scanner: MalwareScanner | None,
        blocklist: Blocklist,
        quota: Quota,
        deadline_s: float,
    ) -> None:
        self._decoder = decoder
        self._image_repository = image_repository
        self._events = events
        self._object_store = object_store
        self._deletion = deletion
        self._scanner = scanner
        self._blocklist = blocklist
        self.quota = quota
        self._rollbacks: set[asyncio.Task[None]] = set()
        self._deadline_s = deadline_s
        self._thumbnails = SharedWork(THUMBNAIL_BYTES)

    async def accept(self, data: bytes, source: str, owner: str, visibility: Visibility) -> Image:
        """Accept a picture for indexing: register its row, store its object and publish its event.

        Raises what ``Decoder.decode`` and ``MalwareScanner.scan`` raise, ``QuotaExceeded``, and ``Unavailable`` if a
        server is down; then the changes are undone.
        """
        account = current_account()
        await account.pace(INDEX_MS + BASE_MS)  # the indexer's part too
        async with account.turn(BASE_MS, local=True):
            with tracing.span("decode"):
                await self._decoder.decode(data)
        if self._scanner is not None:
            await self._scanner.scan(data)
        kind = format_of(data)
        key = f"{UPLOADS}{uuid.uuid4().hex}.{kind.extension}"
        content_hash, etag = await self._decoder.run(_digests, data)
        new = NewImage(self._object_store.uri(key), source, owner, visibility, content_hash, etag, len(data))
        image: Image | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                image = await self._image_repository.register(new, self.quota)
                await self._object_store.put(key, data, kind.media_type, ObjectMetadata(owner, visibility, source))
                event = Event(EventKind.CREATED, image.uri, image.id, traceparent=tracing.traceparent())
                await self._events.publish([event])
        except (TimeoutError, Unavailable) as error:
            if image is not None:
                task = asyncio.create_task(self._undo(image))
                self._rollbacks.add(task)
                task.add_done_callback(self._rollbacks.discard)
            if isinstance(error, Unavailable):
                raise
            raise Unavailable("A server behind the gateway", "no answer in time") from None
        return image

    async def _undo(self, image: Image) -> None:
        """Undo a failed upload. The sweeper finishes what fails here."""
        try:
            await self._deletion.delete(image.id, collections=())  # it has no vectors yet
        except (Unavailable, NotFound) as error:
            log.warning("the upload of image %d was not fully undone: %s", image.id, error)

    async def get(self, image_id: int, caller: Caller) -> Image:
        """Return an image that the caller may see; raises ``NotFound``.

        Of blocked images only those who may change them know.
        """
        image = await self._image_repository.get(image_id)
        if not caller.may_see(image) or (self._blocklist.has(image) and not caller.may_change(image)):
            raise _not_found(image_id)
        return image

    async def page(
        self, caller: Caller, after: int, limit: int, *, status: Status | None, source: str, prefix: str
    ) -> ImagePage:
        """Return up to ``limit`` images with a higher id that ``get`` would return, in the order of their ids.

        ``prefix`` is the beginning of the key in the object store. A page can be short although there are more.
        """
        selection = ImageSelection(
            owners=caller.owners,
            blocked_ids=frozenset() if caller.is_admin else self._blocklist.ids,
            blocked_sources=frozenset() if caller.is_admin else self._blocklist.sources,
            status=status,
            source=source,
            prefix=self._object_store.uri_prefix(prefix),
        )
        return await self._image_repository.page(selection, after, limit)

    async def get_shown(self, image_id: int, caller: Caller) -> Image:
        """Return an image whose picture may be shown to the caller, so no blocked one; raises ``NotFound``."""
        image = await self.get(image_id, caller)
        if self._blocklist.has(image):
            raise _not_found(image_id)
        return image

    async def wait_until_settled(self, image_id: int, caller: Caller, wait_s: float) -> Image:
        """Return an image as ``get`` does, as soon as it is no longer pending, or after ``wait_s`` seconds."""
        end = time.monotonic() + wait_s
        while True:
            image = await self.get(image_id, caller)
            if image.status is not Status.PENDING or time.monotonic() >= end:
                return image
            await asyncio.sleep(min(POLL_S, max(0.0, end - time.monotonic())))

    def entity_tag(self, image: Image, size: int | None) -> str | None:
        """Return the entity tag of a picture's file or thumbnail; None if the indexer has not read the file yet.

        A thumbnail's tag is weak: another version of the imaging library may write other bytes for the same pixels. It
        changes with the revision of the pixels.
        """
        if image.content_hash is None:
            return None
        tag = image.content_hash.hex()
        return f'"{tag}"' if size is None else f'W/"{tag}-{size}-{PIXEL_REVISION}"'

    async def content(self, image: Image, size: int | None) -> tuple[bytes, str]:
        """Return a picture's file, or a thumbnail whose longer side is ``size`` pixels, and the content type."""
        if size is None:
            data = await self._object_store.get(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
            return data, content_type(data)
        key = image.id, image.content_hash, size
        # Paced before the work is shared: those who share it wait for it, but not for the pace of who began it.
        if not self._thumbnails.has(key):
            await current_account().pace(THUMBNAIL_MS)
        if image.content_hash is None:  # nothing says whether a kept thumbnail is still of the same file
            return await self._shrunk(image, size), JPEG
        return await self._thumbnails.get(key, lambda: self._shrunk(image, size)), JPEG

    async def _shrunk(self, image: Image, size: int) -> bytes:
        async with current_account().turn(THUMBNAIL_MS, local=True):
            data = await self._object_store.get(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
            return await self._decoder.run(thumbnail, data, size)

    async def delete(self, image_id: int, caller: Caller, collections: Sequence[str]) -> None:
        """Remove an image from search, Postgres and the object store.

        Raises ``NotFound``; ``Forbidden`` unless the caller owns it or is an administrator.
        """
        if not caller.is_admin and not caller.may_change(await self.get(image_id, caller)):
            raise Forbidden("Only its owner or an administrator may delete this image.")
        await self._deletion.delete(image_id, collections)


def _not_found(image_id: int) -> NotFound:
    return NotFound(f"There is no image {image_id}: it was never accepted, or it has been deleted.")


def _digests(data: bytes) -> tuple[bytes, str]:
    """Return a file's SHA-256 and its object's entity tag. For 20 MB this takes long enough to need a thread."""
    return hashlib.sha256(data).digest(), simple_etag(data)
