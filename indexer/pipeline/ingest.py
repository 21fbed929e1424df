"""Processes indexing events and returns one outcome per event. Does not access the stream."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import stamina

from visualsearch.domain.errors import InvalidInput, NotFound, Overloaded, Unavailable
from visualsearch.domain.images import (
    MAX_UPLOAD_BYTES,
    UNIT_NORM_TOLERANCE,
    UNLIMITED,
    Image,
    ImageMetadata,
    NewImage,
    Prepared,
    Quota,
    Status,
    Visibility,
    stack_pixels,
)
from visualsearch.domain.indexing import Event, EventKind, Indexed, Outcome, Rejected, Retry
from visualsearch.domain.object_keys import is_upload
from visualsearch.domain.releases import Release
from visualsearch.domain.search import VectorRow
from visualsearch.image_deletion import ImageDeletion
from visualsearch.imaging.preprocessing import prepare
from visualsearch.observability.metrics import index_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from visualsearch.domain.indexing import ObjectMetadata
    from visualsearch.imaging.picture_pool import PicturePool
    from visualsearch.ports import Encoder, ImageRepository, MalwareScanner, ObjectStore, Vectors

log = logging.getLogger(__name__)

ENCODING = 2
"""Batches of one indexer that the encoder holds at once: one running and one queued. Searches come in between."""
FIRST_PAUSE_S, MAX_PAUSE_S, TRIES = 0.2, 6.4, 7
"""Pauses and number of tries for an encoder that sheds load. The pause doubles each time: 13 s or more in total."""
ATTEMPTS = 5
"""Number of times that a changing image is rewritten, before its next event is left to do it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A decoded image that waits for its embedding."""

    image: Image
    prepared: Prepared
    content_hash: bytes
    etag: str
    size: int
    """Bytes of the file."""


class Ingest:
    """Turns events into searchable images; decoding runs in ``pool``."""

    def __init__(
        self,
        encoder: Encoder,
        vectors: Vectors,
        image_repository: ImageRepository,
        object_store: ObjectStore,
        pool: PicturePool,
        scanner: MalwareScanner | None = None,
        quota: Quota = UNLIMITED,
    ) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._image_repository = image_repository
        self._object_store = object_store
        self._deletion = ImageDeletion(image_repository, vectors, object_store)
        self._pool = pool
        self._scanner = scanner
        self._quota = quota
        self._encoding = asyncio.Semaphore(ENCODING)

    async def batch(self, events: Sequence[Event], releases: Sequence[Release]) -> list[Outcome]:
        """Process events; return one outcome each, in their order. Never raises for the content of an event.

        Of several events of one uri only the last is processed, because only the current object matters. Vectors are
        written to every release. The first release is the live one, which decides whether an image counts as indexed.
        """
        last = _last_by_uri(events)
        try:
            known = await self._image_repository.by_uris(list(last))
        except Unavailable as error:
            return [Retry(str(error))] * len(events)
        with index_stage("load"):
            results = await asyncio.gather(*(self._begin(e, known.get(e.uri), releases) for e in last.values()))
        outcomes: dict[str, Outcome] = {}
        ready: dict[str, Ready] = {}
        for uri, result in zip(last, results, strict=True):
            if isinstance(result, Ready):
                ready[uri] = result
            else:
                outcomes[uri] = result
        outcomes |= await self._finish(ready, releases)
        return [outcomes[event.uri] for event in events]

    async def rewrite(self, images: Sequence[Image], release: Release) -> None:
        """Write indexed images into one more release from their objects; unreadable pictures are skipped.

        Safe to run beside ``batch``. A concurrent ``batch`` describes an image before it writes its vector, so an image
        whose description changed meanwhile is written again, and one that was deleted is removed. Raises
        ``Unavailable``.
        """
        for _ in range(ATTEMPTS):
            results = await asyncio.gather(*map(self._read, images))
            ready = [one for one in results if one is not None]
            if not ready:
                return
            pixels = stack_pixels([one.prepared for one in ready])
            embeddings = await self._encode(pixels, release.model_version)
            await self._vectors.upsert(release.collection, list(map(_row, ready, embeddings)))
            now = await self._image_repository.by_ids([one.image.id for one in ready])
            gone = [one.image.id for one in ready if one.image.id not in now]
            await self._vectors.delete(release.collection, gone)
            images = [now[i] for one in ready if (i := one.image.id) in now and now[i].content_hash != one.content_hash]

    async def _read(self, image: Image) -> Ready | None:
        try:
            stored = await self._object_store.fetch(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
            prepared = await self._pool.run(prepare, stored.data)
        except (NotFound, InvalidInput) as error:
            log.warning("image %d is skipped: %s", image.id, error)
            return None
        return Ready(image, prepared, hashlib.sha256(stored.data).digest(), stored.etag, len(stored.data))

    async def healthy(self, releases: Sequence[Release]) -> bool:
        """Return whether every server works, so that a remaining failure must be the event's own fault."""
        checks = [self._image_repository.check(), self._object_store.check()]
        for release in releases:
            checks += [self._encoder.check(release.model_version), self._vectors.check(release.collection)]
        return not any(await asyncio.gather(*checks, return_exceptions=True))

    async def _begin(self, event: Event, image: Image | None, releases: Sequence[Release]) -> Outcome | Ready:
        """Process one event up to a decoded picture, or to its outcome if it needs none."""
        try:
            key = self._object_store.key(event.uri)
        except InvalidInput as error:
            return await self._withdraw(image, releases, str(error))
        try:
            if image is None and event.image_id is not None:
                return Indexed(event.image_id)  # deleted meanwhile
            if image is not None and _tells_nothing_new(event, image):
                return Indexed(image.id)
            if image is None and await self._image_repository.is_being_deleted(event.uri):
                if event.kind is EventKind.DELETED:
                    return Indexed(0)  # as the event says
                return Retry("the image that had this uri before is being deleted")
            return await self._load(event, key, image, releases)
        except InvalidInput as error:
            return Rejected(str(error))
        except (Unavailable, Overloaded) as error:
            return Retry(str(error))
        except Exception as error:
            log.exception("%s met an unexpected error", event.uri)
            return Retry(f"unexpected: {error!r}")

    async def _load(self, event: Event, key: str, image: Image | None, releases: Sequence[Release]) -> Outcome | Ready:
        """Fetch and decode an object. An existing object gets a row that records the result."""
        etag = event.etag
        try:
            stored = await self._object_store.fetch(key, MAX_UPLOAD_BYTES)
            etag = stored.etag
            image = image or await self._register(event.uri, key, stored.metadata, self._quota, len(stored.data))
            content_hash = hashlib.sha256(stored.data).digest()
            if image.status is Status.INDEXED and image.content_hash == content_hash:
                if image.etag != etag:
                    await self._image_repository.register(NewImage(event.uri, content_hash=content_hash, etag=etag))
                return Indexed(image.id)
            if self._scanner is not None:
                await self._scanner.scan(stored.data)
            prepared = await self._pool.run(prepare, stored.data)
            return Ready(image, prepared, content_hash, etag, len(stored.data))
        except NotFound as error:
            return await self._missing(event, image, releases, str(error))
        except InvalidInput as error:
            image = image or await self._register(event.uri, key, await self._object_store.metadata(key), UNLIMITED)
            return await self._reject(image, releases, str(error), etag)

    async def _register(
        self, uri: str, key: str, metadata: ObjectMetadata | None, quota: Quota, size: int = 0
    ) -> Image:
        """Register an object of ``size`` bytes that has no row; raises ``QuotaExceeded``.

        Its metadata says who may see it; its top folder is its source. Without metadata, an object that was put into
        the bucket directly is public. An upload is private then and belongs to nobody, because its row is lost and
        might have said so.
        """
        folder, _, _ = key.rpartition("/")
        source = folder.split("/")[0]
        if metadata is not None:
            new = NewImage(uri, metadata.source or source, metadata.owner, metadata.visibility, bytes=size)
        elif is_upload(key):
            new = NewImage(uri, source, visibility=Visibility.PRIVATE, bytes=size)
        else:
            new = NewImage(uri, source, bytes=size)
        return await self._image_repository.register(new, quota)

    async def _withdraw(self, image: Image | None, releases: Sequence[Release], reason: str) -> Outcome:
        """Reject an event whose object is no picture of the corpus; remove the image that an earlier version made."""
        try:
            if image is not None:
                await self._deletion.delete_without_object(image.id, [one.collection for one in releases])
        except Unavailable as error:
            return Retry(str(error))
        return Rejected(reason)

    async def _missing(self, event: Event, image: Image | None, releases: Sequence[Release], reason: str) -> Outcome:
        """Handle an event without an object: remove the image if it was indexed or deleted, otherwise reject it."""
        if image is None:
            expected = event.kind is EventKind.DELETED or await self._image_repository.is_deleted(event.uri)
            return Indexed(0) if expected else Rejected(reason)
        if event.kind is EventKind.CREATED and image.status is not Status.INDEXED:
            return await self._reject(image, releases, reason)
        if image.status is Status.PENDING and event.image_id is None:
            # Other callers can report a deletion between the registration and the storing of an upload.
            return Retry("its object may be about to be stored")
        with contextlib.suppress(NotFound):  # another process has just removed it
            await self._deletion.delete_without_object(image.id, [release.collection for release in releases])
        return Indexed(image.id)

    async def _reject(self, image: Image, releases: Sequence[Release], reason: str, etag: str = "") -> Outcome:
        """Mark an image as rejected, and remove vectors that an earlier version of it may have."""
        try:
            await self._image_repository.mark_rejected(image.id, reason, etag)
            if image.width is not None:
                for release in releases:
                    await self._vectors.delete(release.collection, [image.id])
        except Unavailable as error:
            return Retry(str(error))
        return Rejected(reason, image.id)

    async def _finish(self, ready: dict[str, Ready], releases: Sequence[Release]) -> dict[str, Outcome]:
        """Embed decoded images and make them searchable; after an unexpected error, retry them one by one."""
        if not ready:
            return {}
        try:
            return await self._embed(ready, releases)
        except (Unavailable, Overloaded, NotFound) as error:
            return dict.fromkeys(ready, Retry(str(error)))
        except Exception as error:
            if len(ready) == 1:
                log.exception("%s met an unexpected error", *ready)
                return dict.fromkeys(ready, Retry(f"unexpected: {error!r}"))
        outcomes: dict[str, Outcome] = {}
        for uri, one in ready.items():
            outcomes |= await self._finish({uri: one}, releases)
        return outcomes

    async def _embed(self, ready: dict[str, Ready], releases: Sequence[Release]) -> dict[str, Outcome]:
        pixels = stack_pixels([one.prepared for one in ready.values()])
        versions = {release.model_version for release in releases}
        with index_stage("embed"):
            embeddings = await asyncio.gather(*(self._encode(pixels, version) for version in versions))
        embedded = dict(zip(versions, embeddings, strict=True))
        outcomes: dict[str, Outcome] = {}
        sound: dict[str, Ready] = {}
        is_sound = np.all(
            [abs(np.linalg.norm(each, axis=1) - 1) < UNIT_NORM_TOLERANCE for each in embedded.values()], axis=0
        )
        for (uri, one), fine in zip(ready.items(), is_sound, strict=True):
            if fine:
                sound[uri] = one
            else:
                reason = "The encoder gave no usable embedding for it."
                outcomes[uri] = await self._reject(one.image, releases, reason, one.etag)
        if sound:
            with index_stage("write"):
                await self._image_repository.describe([_described(one) for one in sound.values()])
                for release in releases:
                    rows = map(_row, sound.values(), embedded[release.model_version][is_sound])
                    await self._vectors.upsert(release.collection, list(rows))
            with index_stage("confirm"):
                outcomes |= await self._confirm(sound, releases)
        return outcomes

    async def _encode(self, pixels: NDArray[np.uint8], version: int) -> NDArray[np.float32]:
        """Embed a batch; retry while the encoder is overloaded, so that decoded pictures are not lost."""
        async with self._encoding:
            patient = stamina.AsyncRetryingCaller(
                attempts=TRIES,
                timeout=None,
                wait_initial=FIRST_PAUSE_S,
                wait_max=MAX_PAUSE_S,
                wait_jitter=FIRST_PAUSE_S,
            )
            return await patient(Overloaded, self._encoder.encode, pixels, version)

    async def _confirm(self, written: dict[str, Ready], releases: Sequence[Release]) -> dict[str, Outcome]:
        """Mark images as indexed once searches find their vectors; their rows exist before, so results can be shown."""
        live = releases[0]
        await self._vectors.settle(live.collection)
        contents = {one.image.id: one.content_hash for one in written.values()}
        marked = set(
            await self._image_repository.mark_indexed(contents, live.name, [one.image for one in written.values()])
        )
        left = [image_id for image_id in contents if image_id not in marked]
        there: dict[int, Image] = {}
        if left:
            # Images deleted meanwhile: remove the vectors just written. Images changed meanwhile: this batch may have
            # replaced newer vectors, so they are set back to pending and retried.
            there = {image.id: image for image in await self._image_repository.mark_pending(left)}
            for release in releases:
                await self._vectors.delete(release.collection, [i for i in left if i not in there])
        return {
            uri: Retry("it changed meanwhile") if one.image.id in there else Indexed(one.image.id)
            for uri, one in written.items()
        }


def _last_by_uri(events: Sequence[Event]) -> dict[str, Event]:
    """Return the last event of each uri, without its entity tag if another one contradicts it.

    Stores may report in the wrong order. A deletion must not be dropped for an older event that comes after it.
    """
    last: dict[str, Event] = {}
    for event in events:
        before = last.get(event.uri, event)
        contradicts = (before.kind, before.etag) != (event.kind, event.etag)
        image_id = before.image_id if event.image_id is None else event.image_id
        last[event.uri] = replace(event, etag="" if contradicts else event.etag, image_id=image_id)
    return last


def _tells_nothing_new(event: Event, image: Image) -> bool:
    """Return whether an event concerns exactly the object that is indexed already."""
    return image.status is Status.INDEXED and event.kind is EventKind.CREATED and "" != event.etag == image.etag


def _row(one: Ready, embedding: NDArray[np.float32]) -> VectorRow:
    image, prepared = one.image, one.prepared
    return VectorRow(
        image.id,
        embedding,
        prepared.phash,
        prepared.phash_mirrored,
        image.source,
        image.owner,
        image.visibility,
        min(prepared.width, prepared.height),
    )


def _described(one: Ready) -> ImageMetadata:
    prepared = one.prepared
    return ImageMetadata(
        one.image.id,
        prepared.width,
        prepared.height,
        prepared.phash,
        one.content_hash,
        one.etag,
        one.size,
        prepared.colours,
    )
