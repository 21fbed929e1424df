"""Restores a backup into an empty stack, so that the same searches give the same answers.

The stack's own indexer may be running, so the order matters. Vectors come first, because no search uses them yet. Then
all rows are written in one transaction, after which searches answer. Objects come last; they cause no indexing, because
their rows contain their entity tags. Every step is idempotent, and calling an interrupted restore again resumes it.
"""

from __future__ import annotations

import gzip
import json
import mimetypes
import shutil
import tarfile
from typing import TYPE_CHECKING

from indexer.maintenance.backup_archive import Archive, Manifest, Places, from_pax
from indexer.sources.corpus_keys import CorpusKeys
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.domain.indexing import ObjectMetadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


BLOCK = 1 << 18
NOTE = "A restore is going on: "


class Restore:
    """One restore."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def run(self, folder: Path) -> Manifest:
        """Restore a backup; afterwards, the caller must reconcile the stores with repair.

        Raises ``InvalidInput`` if the backup is damaged or the stack is not empty, and ``ConfigurationError`` if the
        schema, bucket or model versions do not fit.
        """
        archive, manifest = Archive.open(folder)
        mark = f"{NOTE}{manifest.made_at}"
        going_on = await self._places.dump.note() == mark
        if not going_on:
            await self._check_empty()
        self._check_fit(manifest)
        self._models(archive, manifest)
        for collection, profile in manifest.collections.items():
            await self._collection(archive, collection, profile)
        if not going_on:
            await self._rows(archive, manifest, mark)
        await self._objects(archive, manifest)
        await self._places.dump.clear_note()
        return manifest

    async def _check_empty(self) -> None:
        rows = sum((await self._places.image_repository.counts()).values())
        if rows:
            raise InvalidInput(
                f"This stack holds {rows} images already: restore into an empty one, "
                "such as a new VISUALSEARCH_HOME after `visualsearch up`."
            )

    def _check_fit(self, manifest: Manifest) -> None:
        bucket = self._places.object_store.bucket
        if manifest.bucket != bucket:
            raise ConfigurationError(
                f"The backup's bucket is {manifest.bucket}, here it is {bucket}, and every uri names it: "
                f"set VISUALSEARCH_S3_BUCKET={manifest.bucket}."
            )
        for version, fingerprint in manifest.models.items():
            card = self._places.model_folder / version / "card.json"
            if card.is_file() and json.loads(card.read_text())["fingerprint"] != fingerprint:
                raise ConfigurationError(
                    f"Model version {version} here is another encoder than the backup's {fingerprint[:12]}: "
                    "restore beside a model repository that has the same, or none of that number."
                )

    def _models(self, archive: Archive, manifest: Manifest) -> None:
        for version in manifest.models:
            final = self._places.model_folder / version
            if not final.exists():
                hidden = final.with_name(f".{version}.writing")
                shutil.rmtree(hidden, ignore_errors=True)
                shutil.copytree(archive.folder / "models" / version, hidden)
                hidden.rename(final)

    async def _collection(self, archive: Archive, collection: str, profile: str) -> None:
        await self._places.vectors.create(collection, profile)
        total = 0
        for rows in archive.read_vectors(collection):
            await self._places.vectors.upsert(collection, rows)
            total += len(rows)
            self._places.on_progress(f"vectors of {collection}", total)
        await self._places.vectors.seal(collection)

    async def _rows(self, archive: Archive, manifest: Manifest, mark: str) -> None:
        async with self._places.dump.restoring() as loader:
            await loader.clear(manifest.tables)
            for table, columns in manifest.tables.items():
                await loader.load(table, columns, _blocks(archive.table(table)))
                self._places.on_progress(f"rows of {table}", manifest.rows[table])
            await loader.set_sequences(manifest.sequences)
            await loader.leave_note(mark)

    async def _objects(self, archive: Archive, manifest: Manifest) -> None:
        if not manifest.with_objects:
            return
        done = 0
        for part in sorted((archive.folder / "objects").glob("*.tar")):
            with tarfile.open(part) as tar:
                for entry in tar:
                    stream = tar.extractfile(entry)
                    if stream is None:
                        continue
                    kind = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
                    metadata = await self._metadata(entry)
                    await self._places.object_store.put(entry.name, stream.read(), kind, metadata)
                    done += 1
                    self._places.on_progress("objects", done)

    async def _metadata(self, entry: tarfile.TarInfo) -> ObjectMetadata | None:
        """Return who may see an object: what its row says, else what was stored with it."""
        uri = CorpusKeys(self._places.object_store).uri(entry.name)
        row = await self._places.image_repository.by_uri(uri) if uri else None
        return ObjectMetadata(row.owner, row.visibility, row.source) if row else from_pax(entry.pax_headers)


async def _blocks(file: Path) -> AsyncIterator[bytes]:
    with gzip.open(file, "rb") as stream:
        while block := stream.read(BLOCK):
            yield block
