"""Brings an exported index back, so that its pictures are searchable without being encoded.

The pictures themselves must be in the bucket already, with the content that was exported. Their rows are written before
their vectors, as the indexer does it, and only then are they marked as indexed. Every step may be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from indexer.exchange.index_file import reading
from visualsearch.domain.errors import FingerprintMismatch, InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Image, ImageMetadata, NewImage, Status, Visibility
from visualsearch.domain.indexing import ObjectMetadata
from visualsearch.domain.object_keys import corpus_key, is_upload
from visualsearch.domain.search import VectorRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from indexer.exchange.records import IndexRecord
    from visualsearch.domain.releases import Release
    from visualsearch.ports import ImageRepository, ObjectStore, Vectors

LOOKUPS = 16
"""Objects that are looked at at once."""


@dataclass(slots=True)
class ImportReport:
    """Result of an import: what became searchable, what was already, and the refused uris with reasons."""

    imported: int = 0
    unchanged: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Checked:
    """A record whose object is there: what its row will be."""

    record: IndexRecord
    new: NewImage


class IndexImport:
    """Imports indexes into the collection of one release."""

    def __init__(
        self, image_repository: ImageRepository, vectors: Vectors, object_store: ObjectStore, release: Release
    ) -> None:
        self._image_repository = image_repository
        self._vectors = vectors
        self._object_store = object_store
        self._release = release
        self._looking = asyncio.Semaphore(LOOKUPS)
        self._report = ImportReport()

    async def run(self, path: Path, *, on_progress: Callable[[int], None]) -> ImportReport:
        """Import a file. Raises ``FingerprintMismatch`` if it is of another encoder, and what ``reading`` does."""
        done = 0
        with reading(path) as (header, pages):
            if header.fingerprint != self._release.fingerprint:
                raise FingerprintMismatch(
                    f"{path} is of the encoder {header.fingerprint[:12]}, and release {self._release.name} of "
                    f"{self._release.fingerprint[:12]}: their vectors cannot be compared. Index the pictures instead."
                )
            for page in pages:
                await self._page(page)
                done += len(page)
                on_progress(done)
        return self._report

    async def _page(self, page: Sequence[IndexRecord]) -> None:
        sound: dict[str, Checked] = {}
        for one in await asyncio.gather(*map(self._check, page)):
            if one is not None and one.new.uri in sound:
                self._report.refused.append((one.record.uri, "Another record is of the same object."))
            elif one is not None:
                sound[one.new.uri] = one
        known = await self._image_repository.by_uris(list(sound))
        there = await self._with_vectors([one for one in known.values() if _is_same(one, sound[one.uri].record)])
        self._report.unchanged += len(there)
        wanted = [one for uri, one in sound.items() if uri not in there]
        if wanted:
            await self._write(wanted)

    async def _with_vectors(self, images: Sequence[Image]) -> set[str]:
        """Return the uris of the images that are in the collection."""
        if not images:
            return set()
        found = await self._vectors.fetch(self._release.collection, [image.id for image in images])
        return {image.uri for image in images if image.id in found}

    async def _check(self, record: IndexRecord) -> Checked | None:
        """Return what is to be written for a record; None if it is refused."""
        try:
            record.check()
            key = _key(record.uri)
            async with self._looking:
                etag = await self._check_content(key, record)
                metadata = await self._object_store.metadata(key)
            return Checked(record, self._new(key, record, metadata, etag))
        except NotFound:
            self._report.refused.append((record.uri, "The bucket has no such object: copy the pictures first."))
        except InvalidInput as error:
            self._report.refused.append((record.uri, str(error)))
        return None

    async def _check_content(self, key: str, record: IndexRecord) -> str:
        """Return the object's entity tag. Raises ``InvalidInput`` if it has other content than was exported."""
        etag = await self._object_store.etag(key)
        if etag and etag == record.etag:
            return etag
        # A store makes other tags of the same content if it was uploaded in several parts.
        stored = await self._object_store.fetch(key, MAX_UPLOAD_BYTES)
        if hashlib.sha256(stored.data).digest() != record.content_hash:
            raise InvalidInput("The object has other content than the one that was exported: index it instead.")
        return stored.etag

    def _new(self, key: str, record: IndexRecord, metadata: ObjectMetadata | None, etag: str) -> NewImage:
        """Return the image to register. The object's metadata decides who may see it; without any, the file does."""
        if metadata is None:
            visibility = Visibility.PRIVATE if is_upload(key) else record.visibility
            metadata = ObjectMetadata(record.owner, visibility, record.source)
        return NewImage(
            self._object_store.uri(key),
            metadata.source or record.source,
            metadata.owner,
            metadata.visibility,
            record.content_hash,
            etag,
        )

    async def _write(self, wanted: Sequence[Checked]) -> None:
        """Make images searchable: rows, then vectors, then the marks."""
        images = await self._image_repository.register_all([one.new for one in wanted])
        described = [_described(image, one) for image, one in zip(images, wanted, strict=True)]
        await self._image_repository.describe(described)
        rows = [_row(image, one.record) for image, one in zip(images, wanted, strict=True)]
        await self._vectors.upsert(self._release.collection, rows)
        await self._vectors.settle(self._release.collection)
        contents = {one.image_id: one.content_hash for one in described}
        marked = await self._image_repository.mark_indexed(contents, self._release.name, images)
        self._report.imported += len(marked)
        changed = [image.uri for image in images if image.id not in set(marked)]
        self._report.refused += [(uri, "It was changed or deleted meanwhile.") for uri in changed]


def _key(uri: str) -> str:
    """Return the key of an exported uri, whatever its bucket was called. Raises ``InvalidInput``."""
    scheme, _, rest = uri.partition("://")
    _, _, key = rest.partition("/")
    if scheme != "s3":
        raise InvalidInput("Its uri names no object: s3://BUCKET/KEY is expected.")
    return corpus_key(unquote(key), uploads=True)


def _is_same(image: Image, record: IndexRecord) -> bool:
    return image.status is Status.INDEXED and image.content_hash == record.content_hash


def _described(image: Image, one: Checked) -> ImageMetadata:
    record = one.record
    return ImageMetadata(
        image.id,
        record.width,
        record.height,
        record.phash,
        record.content_hash,
        one.new.etag,
        colours=record.colours,
    )


def _row(image: Image, record: IndexRecord) -> VectorRow:
    return VectorRow(
        image.id,
        record.vector,
        record.phash,
        record.phash_mirrored,
        image.source,
        image.owner,
        image.visibility,
        min(record.width, record.height),
    )
