"""The work behind indexing events: what to do with each, told as one outcome per event. Knows no stream."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain import (
    MAX_UPLOAD_BYTES,
    Described,
    Event,
    EventKind,
    Image,
    Indexed,
    NewImage,
    Outcome,
    Prepared,
    Rejected,
    Release,
    Retry,
    Status,
    VectorRow,
    stack_pixels,
)
from visualsearch.errors import InvalidInput, NotFound, Overloaded, Unavailable
from visualsearch.images import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.ports import Blobs, Catalog, Encoder, Vectors

log = logging.getLogger(__name__)

UNIT = 1e-3
"""An embedding whose length differs from 1 by more than this is none."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An image that is decoded and waits for its embedding."""

    image: Image
    prepared: Prepared
    content_hash: bytes


class Ingest:
    """Turns events into searchable images; decoding runs in ``pool``."""

    def __init__(self, encoder: Encoder, vectors: Vectors, catalog: Catalog, blobs: Blobs, pool: Executor) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._catalog = catalog
        self._blobs = blobs
        self._pool = pool

    async def batch(self, events: Sequence[Event], release: Release) -> list[Outcome]:
        """Do what the events ask for; one outcome each, in their order. Never raises for what an event contains.

        Of several events of one uri the last stands for all: what counts is whether the object is there now.
        """
        last = {event.uri: event for event in events}
        results = await asyncio.gather(*(self._begin(event, release) for event in last.values()))
        outcomes: dict[str, Outcome] = {}
        ready: dict[str, Ready] = {}
        for uri, result in zip(last, results, strict=True):
            if isinstance(result, Ready):
                ready[uri] = result
            else:
                outcomes[uri] = result
        outcomes |= await self._finish(ready, release)
        return [outcomes[event.uri] for event in events]

    async def healthy(self, release: Release) -> bool:
        """Say whether every server works, so that what still fails must be an event's own fault."""
        checks = (
            self._encoder.check(release.model_version),
            self._vectors.check(release.collection),
            self._catalog.check(),
            self._blobs.check(),
        )
        return not any(await asyncio.gather(*checks, return_exceptions=True))

    async def _begin(self, event: Event, release: Release) -> Outcome | Ready:
        """Bring one event as far as a decoded picture, or to its end."""
        image: Image | None = None
        try:
            key = self._blobs.key(event.uri)
            image = await self._catalog.by_uri(event.uri)
            if image is None and (event.kind is EventKind.DELETED or event.image_id is not None):
                return Indexed(event.image_id or 0)  # deleted meanwhile
            try:
                data = await self._blobs.get(key, MAX_UPLOAD_BYTES)
            except NotFound as error:
                return await self._missing(event, image, release, str(error))
            image = image or await self._catalog.promise(NewImage(event.uri))
            return await self._decode(image, data)
        except InvalidInput as error:
            return await self._reject(image, str(error)) if image else Rejected(str(error))
        except Unavailable as error:
            return Retry(str(error))
        except Exception as error:
            log.exception("%s met an unexpected error", event.uri)
            return Retry(f"unexpected: {error!r}")

    async def _missing(self, event: Event, image: Image | None, release: Release, reason: str) -> Outcome:
        """Settle an event whose object is not there: a deletion takes the image out, a creation was in vain."""
        if image is None:
            return Indexed(0) if await self._catalog.is_forgotten(event.uri) else Rejected(reason)
        if event.kind is EventKind.CREATED:
            return await self._reject(image, reason)
        await self._catalog.forget(image.id)
        await self._vectors.delete(release.collection, [image.id])
        await self._catalog.finish_forgetting(image.id)
        return Indexed(image.id)

    async def _decode(self, image: Image, data: bytes) -> Indexed | Ready:
        content_hash = hashlib.sha256(data).digest()
        if image.status is Status.INDEXED and image.content_hash == content_hash:
            return Indexed(image.id)
        prepared = await asyncio.get_running_loop().run_in_executor(self._pool, prepare, data)
        return Ready(image, prepared, content_hash)

    async def _reject(self, image: Image, reason: str) -> Outcome:
        try:
            await self._catalog.mark_rejected(image.id, reason)
        except Unavailable as error:
            return Retry(str(error))
        return Rejected(reason, image.id)

    async def _finish(self, ready: dict[str, Ready], release: Release) -> dict[str, Outcome]:
        """Embed what is decoded and make it searchable; one by one where together they meet an unexpected error."""
        if not ready:
            return {}
        try:
            return await self._embed(ready, release)
        except (Unavailable, Overloaded, NotFound) as error:
            return dict.fromkeys(ready, Retry(str(error)))
        except Exception as error:
            if len(ready) == 1:
                log.exception("%s met an unexpected error", *ready)
                return dict.fromkeys(ready, Retry(f"unexpected: {error!r}"))
        outcomes: dict[str, Outcome] = {}
        for uri, one in ready.items():
            outcomes |= await self._finish({uri: one}, release)
        return outcomes

    async def _embed(self, ready: dict[str, Ready], release: Release) -> dict[str, Outcome]:
        pixels = stack_pixels([one.prepared for one in ready.values()])
        embeddings = await self._encoder.encode(pixels, release.model_version)
        outcomes: dict[str, Outcome] = {}
        sound: dict[str, tuple[Ready, VectorRow]] = {}
        for (uri, one), embedding in zip(ready.items(), embeddings, strict=True):
            if abs(float(np.linalg.norm(embedding)) - 1) < UNIT:
                sound[uri] = one, _row(one, embedding)
            else:
                outcomes[uri] = await self._reject(one.image, "The encoder gave no usable embedding for it.")
        return outcomes | await self._write(sound, release)

    async def _write(self, sound: dict[str, tuple[Ready, VectorRow]], release: Release) -> dict[str, Outcome]:
        """Write rows before vectors, so that what is found can be shown."""
        if not sound:
            return {}
        await self._catalog.describe([_described(one) for one, _ in sound.values()])
        await self._vectors.upsert(release.collection, [row for _, row in sound.values()])
        await self._vectors.settle(release.collection)
        wanted = [one.image.id for one, _ in sound.values()]
        there = set(await self._catalog.mark_indexed(wanted, release.name))
        gone = [image_id for image_id in wanted if image_id not in there]
        # Deleted while we worked: the vector that we have just written must go too.
        if gone:
            await self._vectors.delete(release.collection, gone)
        return {uri: Indexed(one.image.id) for uri, (one, _) in sound.items()}


def _row(one: Ready, embedding: np.ndarray[tuple[int], np.dtype[np.float32]]) -> VectorRow:
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


def _described(one: Ready) -> Described:
    prepared = one.prepared
    return Described(one.image.id, prepared.width, prepared.height, prepared.phash, one.content_hash)
