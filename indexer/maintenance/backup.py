"""Writes all data of a stack into one folder, while search and indexing continue.

Postgres is read at one moment; vectors and objects are read a little later. Changes in between make them differ from
the rows, as after a crash. The reconciliation at the end of a restore repairs these differences.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from indexer.maintenance.backup_archive import Archive, Manifest, Places, to_pax
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.domain.releases import ReleaseState

if TYPE_CHECKING:
    from pathlib import Path

    from visualsearch.adapters.postgres.table_copy import Snapshot
    from visualsearch.domain.indexing import StoredObject

PART_BYTES = 256 * 2**20
"""Approximate size of a tar file of objects."""
VECTOR_PAGE = 2000
"""Rows of a page: 2 MB of embeddings, which Milvus reads and writes easily."""
OUR_OWN = ".visualsearch/"
"""Prefix of the health probes' objects in the bucket."""


class Backup:
    """One backup."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def run(self, final: Path, *, with_objects: bool) -> Manifest:
        """Write a backup; its folder gets its final name only when it is complete.

        Raises ``InvalidInput`` if the name is taken, and ``Unavailable`` if a server does not answer.
        """
        archive = Archive.begin(final)
        async with self._places.dump.snapshot() as snapshot:
            manifest = Manifest(datetime.now(UTC).isoformat(timespec="seconds"), await snapshot.revision())
            await self._tables(archive, manifest, snapshot)
        await self._releases(archive, manifest)
        manifest.with_objects = with_objects
        await self._objects(archive, manifest)
        archive.finish(manifest, final)
        return manifest

    async def _tables(self, archive: Archive, manifest: Manifest, snapshot: Snapshot) -> None:
        manifest.sequences = await snapshot.sequences()
        manifest.tables = await snapshot.tables()
        for table, columns in manifest.tables.items():
            rows = 0
            with gzip.open(archive.table(table), "wb", compresslevel=3) as file:
                async for data in snapshot.rows(table, columns):
                    file.write(data)
                    rows += data.count(b"\n")
                    self._places.on_progress(f"rows of {table}", rows)
            manifest.rows[table] = rows

    async def _releases(self, archive: Archive, manifest: Manifest) -> None:
        for record in (await self._places.release_repository.records()).kept:
            release, state = record.release, record.state
            if str(release.model_version) not in manifest.models:
                kept = archive.take_model(self._places.model_folder, release.model_version)
                manifest.models[str(release.model_version)] = kept
            manifest.collections[release.collection] = release.profile
            if state != ReleaseState.BUILDING:  # a build is reconciled at its end, which writes the missing vectors
                manifest.vectors[release.collection] = await self._collection(archive, release.collection)

    async def _collection(self, archive: Archive, collection: str) -> int:
        total, last, number = 0, -1, 0
        while rows := await self._places.vectors.page(collection, last, VECTOR_PAGE):
            archive.write_vectors(collection, number, rows)
            total, last, number = total + len(rows), rows[-1].image_id, number + 1
            self._places.on_progress(f"vectors of {collection}", total)
        return total

    async def _objects(self, archive: Archive, manifest: Manifest) -> None:
        manifest.bucket = self._places.object_store.bucket
        parts = _Parts(archive)
        async for page in self._places.object_store.walk():
            for info in page:
                if info.key.startswith(OUR_OWN):
                    continue
                if manifest.with_objects:
                    try:
                        parts.add(info.key, await self._places.object_store.fetch(info.key, MAX_UPLOAD_BYTES))
                    except (NotFound, InvalidInput) as error:  # deleted meanwhile, too large, or of an unusable name
                        manifest.left_out[info.key] = str(error)
                        continue
                manifest.objects += 1
                manifest.object_bytes += info.size
            self._places.on_progress("objects", manifest.objects)
        parts.close()


class _Parts:
    """Writes objects into tar files of about ``PART_BYTES``."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._number = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, key: str, stored: StoredObject) -> None:
        if self._tar is None:
            self._tar = tarfile.open(self._archive.file("objects", f"{self._number:06}.tar"), "w")  # noqa: SIM115
        entry = tarfile.TarInfo(key)
        entry.size = len(stored.data)
        entry.pax_headers = to_pax(stored.metadata)
        self._tar.addfile(entry, io.BytesIO(stored.data))
        if self._tar.offset > PART_BYTES:
            self.close()

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar, self._number = None, self._number + 1
