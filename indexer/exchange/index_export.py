"""Writes a release's index into a Parquet file, while search and indexing continue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.exchange.index_file import writing
from indexer.exchange.records import IndexHeader, IndexRecord
from visualsearch.domain.images import Status, Visibility

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from visualsearch.domain.images import Image
    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import VectorRow
    from visualsearch.ports import ImageRepository, Vectors

PAGE = 2000
"""Rows of a page: 2 MB of embeddings, which Milvus reads easily."""


class IndexExport:
    """Exports indexes. An image that changes meanwhile is left out: its row and its vector are of different content."""

    def __init__(self, image_repository: ImageRepository, vectors: Vectors, bucket: str) -> None:
        self._image_repository = image_repository
        self._vectors = vectors
        self._bucket = bucket

    async def run(self, path: Path, release: Release, *, public_only: bool, on_progress: Callable[[int], None]) -> int:
        """Write the indexed images of a release, by id; return how many. Raises what ``writing`` does."""
        header = IndexHeader(release.fingerprint, release.name, release.model_version, self._bucket)
        number, last = 0, -1
        with writing(path, header) as write:
            while rows := await self._vectors.page(release.collection, last, PAGE):
                last = rows[-1].image_id
                records = await self._records(rows, public_only=public_only)
                if records:
                    write(records)
                number += len(records)
                on_progress(number)
        return number

    async def _records(self, rows: list[VectorRow], *, public_only: bool) -> list[IndexRecord]:
        ids = [row.image_id for row in rows]
        images = await self._image_repository.by_ids(ids)
        hashes = dict(await self._image_repository.hashes_of(ids))
        contents = await self._image_repository.contents(ids[0] - 1, len(ids))
        colours = {one.id: one.colours for one in contents}
        return [
            _record(image, row, colours.get(image.id, b""))
            for row in rows
            if (image := images.get(row.image_id)) is not None
            and image.status is Status.INDEXED
            and hashes.get(image.id) == row.phash
            and not (public_only and image.visibility is not Visibility.PUBLIC)
        ]


def _record(image: Image, row: VectorRow, colours: bytes) -> IndexRecord:
    return IndexRecord(
        image.id,
        image.uri,
        image.source,
        image.owner,
        image.visibility,
        image.width or 0,
        image.height or 0,
        image.content_hash or b"",
        image.etag,
        row.phash,
        row.phash_mirrored,
        colours,
        row.embedding,
    )
