"""Indexes many pictures: uploads them, publishes their events, and waits until all are indexed or rejected."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from indexer.sources.index_summary import IndexingCounts, Summary
from indexer.sources.picture_sources import NoPicture
from visualsearch.domain.errors import BrokenImage, InvalidInput, NotFound, Unavailable, UnsupportedImage
from visualsearch.domain.images import Image, NewImage, Status, Visibility
from visualsearch.domain.indexing import Event, EventKind, ObjectMetadata, simple_etag
from visualsearch.domain.object_keys import corpus_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from indexer.sources.picture_sources import Item, PictureSource
    from visualsearch.ports import EventStream, ImageRepository, ObjectStore

CHUNK = 64
CHUNK_BYTES = 64 * 2**20
"""Limits of a batch that is read, registered and stored together, in pictures and bytes. They bound memory."""
MAX_WAITING = 1024
"""Largest number of pictures that wait for the indexer before more are sent."""
LOOKED_AT = 256
"""Number of waiting pictures whose status is queried at once, oldest first."""
LOOK_EVERY_S = 0.2
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A picture to send. ``data`` is None if the object is in the corpus' bucket already."""

    item: Item
    new: NewImage
    data: bytes | None = None


class Bulk:
    """One run over one source."""

    def __init__(
        self,
        source: PictureSource,
        object_store: ObjectStore,
        image_repository: ImageRepository,
        events: EventStream,
        on_progress: Callable[[IndexingCounts], None],
        *,
        dry_run: bool = False,
    ) -> None:
        self._source = source
        self._object_store = object_store
        self._image_repository = image_repository
        self._events = events
        self._on_progress = on_progress
        self._dry_run = dry_run
        self._counts = IndexingCounts()
        self._summary = Summary()
        self._waiting: dict[int, str] = {}
        self._replacing: set[int] = set()
        self._last_change = 0.0

    async def run(self) -> Summary:
        """Index everything. Raises ``Unavailable`` if the indexer makes no progress for two minutes."""
        begin = self._last_change = time.monotonic()
        counting = asyncio.create_task(self._count())
        try:
            async for chunk in self._chunks():
                await self._send(chunk)
                await self._look()
                while len(self._waiting) > MAX_WAITING:
                    await self._look_again()
            await counting
            while self._waiting:
                await self._look_again()
        finally:
            counting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await counting
        self._summary.seconds = time.monotonic() - begin
        return self._summary

    async def _count(self) -> None:
        async for page in self._source.pages():
            self._counts.total += len(page)
            self._on_progress(self._counts)

    async def _chunks(self) -> AsyncIterator[list[Item]]:
        chunk: list[Item] = []
        size = 0
        async for page in self._source.pages():
            for item in page:
                if chunk and (len(chunk) == CHUNK or size + item.size > CHUNK_BYTES):
                    yield chunk
                    chunk, size = [], 0
                chunk.append(item)
                size += item.size
        if chunk:
            yield chunk

    async def _send(self, chunk: list[Item]) -> None:
        """Register new or changed pictures, store them, and publish their events, in this order."""
        read = await asyncio.gather(*map(self._load, chunk))
        loaded = [one for one in read if one is not None]
        known = await self._image_repository.by_uris([one.new.uri for one in loaded])
        wanted = [one for one in loaded if not _is_unchanged(one.new, known.get(one.new.uri))]
        self._summary.skipped += len(loaded) - len(wanted)
        self._counts.skipped = self._summary.skipped
        replacing = {one.new.uri for one in wanted if _replaces(one, known.get(one.new.uri))}
        if self._dry_run:
            self._summary.replaced += len(replacing)
            self._summary.indexed += len(wanted)
            self._counts.indexed = self._summary.indexed
        else:
            await self._register(wanted, known, replacing)
        self._on_progress(self._counts)

    async def _register(self, wanted: Sequence[Loaded], known: Mapping[str, Image], replacing: set[str]) -> None:
        new = await asyncio.gather(*(self._new(one, known.get(one.new.uri)) for one in wanted))
        images = await self._image_repository.register_all(new)
        await asyncio.gather(*map(self._store, wanted, images))
        # Images that are already indexed with the same content need no event.
        await self._events.publish(
            [Event(EventKind.CREATED, image.uri, image.id) for image in images if image.status is Status.PENDING]
        )
        self._waiting |= {image.id: one.item.name for image, one in zip(images, wanted, strict=True)}
        self._replacing |= {image.id for image in images if image.uri in replacing}

    async def _load(self, item: Item) -> Loaded | None:
        """Read an item as far as necessary; return None if it cannot be used."""
        try:
            item.check()
            uri = self._object_store.uri(corpus_key(item.key, uploads=False))
            if hash(uri) in self._summary.seen:
                raise InvalidInput(f"Another picture before it has the same key, {item.key!r}.")
            self._summary.seen.add(hash(uri))
            if self._source.in_place or item.in_place:
                etag = item.etag or await self._etag(item.key)
                return Loaded(item, NewImage(uri, item.source, item.owner, item.visibility, etag=etag))
            data, metadata = await self._source.fetch(item)
        except NoPicture:
            self._counts.no_pictures += 1
            self._summary.no_pictures.add(item.name)
            self._summary.seen.discard(hash(uri))
            return None
        except (UnsupportedImage, BrokenImage) as error:
            self._summary.seen.discard(hash(uri))  # the file is no longer a picture, so --prune may remove its image
            self._reject(item.name, str(error))
            return None
        except InvalidInput as error:
            self._reject(item.name, str(error))
            return None
        if item.renamed:
            self._summary.renamed.append((item.name, item.key))
        content_hash, etag = await asyncio.to_thread(lambda: (hashlib.sha256(data).digest(), simple_etag(data)))
        new = NewImage(uri, item.source, item.owner, item.visibility, content_hash, etag)
        return Loaded(item, _with_metadata(new, metadata), data)

    async def _etag(self, key: str) -> str:
        try:
            return await self._object_store.etag(key)
        except NotFound:
            raise InvalidInput("The corpus' bucket has no such object.") from None

    async def _new(self, one: Loaded, known: Image | None) -> NewImage:
        """Return the image to register. An object in place that has no row yet says itself who may see it."""
        if known is not None or one.data is not None:
            return one.new
        try:
            metadata = await self._object_store.metadata(one.item.key)
        except NotFound:  # removed meanwhile, as the indexer will find
            return one.new
        return _with_metadata(one.new, metadata)

    async def _store(self, one: Loaded, image: Image) -> None:
        """Store a picture, with the owner and the visibility that its row has, possibly from earlier."""
        if one.data is not None:
            metadata = ObjectMetadata(image.owner, image.visibility, image.source)
            await self._object_store.put(one.item.key, one.data, metadata=metadata)

    async def _look_again(self) -> None:
        if not await self._look():
            await asyncio.sleep(LOOK_EVERY_S)
            if time.monotonic() - self._last_change > PATIENCE_S:
                number = len(self._waiting)
                raise Unavailable("The indexer", f"{number} images have waited for {PATIENCE_S:.0f} s; is it up?")

    async def _look(self) -> bool:
        """Query the images that have waited longest; return whether any of them is now indexed or rejected."""
        asked = list(islice(self._waiting, LOOKED_AT))
        found = await self._image_repository.by_ids(asked)
        settled = [i for i in asked if i not in found or found[i].status is not Status.PENDING]
        for image_id in settled:
            self._settle(image_id, self._waiting.pop(image_id), found.get(image_id))
        if settled:
            self._last_change = time.monotonic()
            self._on_progress(self._counts)
        return bool(settled)

    def _settle(self, image_id: int, name: str, image: Image | None) -> None:
        if image is not None and image.status is Status.INDEXED:
            self._counts.indexed += 1
            self._summary.indexed += 1
            self._summary.replaced += image_id in self._replacing
        else:
            reason = image.reason if image else "It was deleted meanwhile."
            self._reject(name, reason or "It was rejected.")

    def _reject(self, name: str, reason: str) -> None:
        self._counts.rejected += 1
        self._summary.rejected.append((name, reason))


def _with_metadata(new: NewImage, metadata: ObjectMetadata | None) -> NewImage:
    """Return an image with what its object says of it. It is private if either its source or its object says so."""
    if metadata is None:
        return new
    visibility = new.visibility if metadata.visibility is Visibility.PUBLIC else metadata.visibility
    return replace(new, source=metadata.source or new.source, owner=metadata.owner or new.owner, visibility=visibility)


def _is_unchanged(new: NewImage, known: Image | None) -> bool:
    """Return whether an image is indexed with this content, by its hash or, if it was not read, by its entity tag."""
    if known is None or known.status is not Status.INDEXED:
        return False
    if new.content_hash is not None:
        return known.content_hash == new.content_hash
    return "" != new.etag == known.etag


def _replaces(one: Loaded, known: Image | None) -> bool:
    """Return whether a picture takes the place of another one that can be searched."""
    return one.data is not None and known is not None and known.status is Status.INDEXED


async def index_all(
    source: PictureSource,
    object_store: ObjectStore,
    image_repository: ImageRepository,
    events: EventStream,
    *,
    on_progress: Callable[[IndexingCounts], None],
    dry_run: bool = False,
) -> Summary:
    """Index a source's pictures; pictures unchanged since the last run are skipped.

    Keys depend only on the source, so a second run, or one after an interruption, finds the same images. A dry run
    reads and compares everything, and writes nothing.
    """
    return await Bulk(source, object_store, image_repository, events, on_progress, dry_run=dry_run).run()
