"""Gives folders, archives and buckets their names in the corpus, and prints those that a person would not guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.console import printable
from indexer.sources.folder_names import FolderNames
from indexer.sources.picture_sample import PictureSample

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from indexer.sources.folder import Folder
    from indexer.sources.folder_names import FolderName
    from indexer.sources.picture_sources import Bucket, PictureSource
    from visualsearch.indexing_stores import IndexingStores


class IndexNames:
    """Names in the corpus of these stores. In a dry run, they are not recorded."""

    def __init__(self, stores: IndexingStores, console: Console, *, dry_run: bool) -> None:
        self._names = FolderNames(stores.indexed_folders, stores.image_repository, stores.object_store)
        self._console = console
        self._dry_run = dry_run

    async def named_folder(self, folder: Folder, name: str) -> Folder:
        """Return a folder with the prefix that belongs to it. ``name`` is what a person wants; empty for any."""
        sample = PictureSample(folder, folder.prefix)
        chosen = await self._names.choose(folder.root, sample, whole=folder.is_whole, name=name)
        await self._settle(str(folder.root), chosen, folder.prefix)
        return folder.named(chosen.prefix)

    async def prefix_of_file(self, path: Path, content: PictureSource, name: str) -> str:
        """Return the prefix that belongs to the archive or table at a real path. The keys of ``content`` have none."""
        chosen = await self._names.choose(path, PictureSample(content, ""), whole=True, name=name, alone=True)
        await self._settle(str(path), chosen, f"{path.name}/")
        return chosen.prefix

    async def named_bucket(self, bucket: Bucket) -> Bucket:
        """Return a bucket with the prefix that belongs to it, unless it is the corpus' own."""
        if bucket.in_place:
            return bucket
        chosen = await self._names.choose_for_bucket(bucket.name, PictureSample(bucket, bucket.prefix))
        await self._settle(f"The bucket {bucket.name}", chosen, bucket.prefix)
        return bucket.named(chosen.prefix)

    async def _settle(self, what: str, chosen: FolderName, expected: str) -> None:
        """Record a name, and print it unless it is the expected one."""
        if not self._dry_run:
            await self._names.record(chosen)
        if chosen.remark or chosen.prefix != expected:
            text = f"{what} is {chosen.prefix.removesuffix('/')!r} in the corpus. {chosen.remark}"
            self._console.print(Text(printable(text.rstrip())), soft_wrap=True)
