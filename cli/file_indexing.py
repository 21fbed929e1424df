"""Indexing what is in archives and tables of pictures."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cli.connections import open_bucket
from cli.index_names import IndexNames
from cli.index_progress import index_with_bar
from indexer.sources.archives.source import Archives, is_archive
from indexer.sources.lists.rows import is_list
from indexer.sources.lists.source import PictureList
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from cli.folder_indexing import FolderOptions
    from indexer.sources.index_summary import Summary
    from indexer.sources.picture_sources import PictureSource
    from visualsearch.indexing_stores import IndexingStores
    from visualsearch.ports import ObjectStore


def holds_pictures(path: Path) -> bool:
    """Return whether a path is an archive or a table, by its name."""
    return path.is_file() and (is_archive(path) or is_list(path))


class FileIndexing:
    """Indexes archives, or one table, into the corpus of these stores, and prints what happens."""

    def __init__(
        self,
        stores: IndexingStores,
        console: Console,
        options: FolderOptions,
        open_bucket: Callable[[str], ObjectStore] = open_bucket,
    ) -> None:
        self._stores = stores
        self._console = console
        self._options = options
        self._open_bucket = open_bucket

    async def run(self, paths: Sequence[Path]) -> Summary:
        """Index archives one after the other, or a table. Raises ``InvalidInput`` for what does not fit together."""
        if self._options.prune or self._options.watch:
            raise InvalidInput("--prune and --watch are for folders.")
        if len(paths) > 1 and (self._options.name or not all(map(is_archive, paths))):
            raise InvalidInput("Several at once can be archives only, without --name: index the others one by one.")
        real = [path.resolve() for path in paths]
        if is_list(real[0]):
            return await self._index(self._list(real[0], await self._prefix(real[0])))
        archives = Archives({path: await self._prefix(path) for path in real}, self._options.patterns)
        with closing(archives):
            return await self._index(archives)

    def _list(self, path: Path, prefix: str) -> PictureList:
        return PictureList(path, prefix, self._stores.object_store.bucket, self._open_bucket)

    async def _index(self, source: PictureSource) -> Summary:
        return await index_with_bar(self._stores, source, self._console, dry_run=self._options.dry_run)

    async def _prefix(self, path: Path) -> str:
        """Return the prefix of the keys of an archive or a table, and record it."""
        names = IndexNames(self._stores, self._console, dry_run=self._options.dry_run)
        if is_list(path):
            return await names.prefix_of_file(path, self._list(path, ""), self._options.name)
        with closing(Archives({path: ""}, self._options.patterns)) as archive:
            return await names.prefix_of_file(path, archive, self._options.name)
