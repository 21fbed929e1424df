"""Indexing a folder: what it is called, what came of its files, what is removed, and how it is followed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from cli.connections import operator
from cli.console import printable
from cli.index_names import IndexNames
from cli.index_progress import index_with_bar
from cli.index_report import images, print_gone, print_summary
from indexer.sources.bulk import index_all
from indexer.sources.folder import Folder
from indexer.sources.folder_watch import FolderWatch
from indexer.sources.pruning import Pruning
from visualsearch.audit import audited
from visualsearch.domain.audit import Action
from visualsearch.domain.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from indexer.sources.index_summary import Summary
    from visualsearch.domain.images import Image
    from visualsearch.indexing_stores import IndexingStores


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """What a person asks for: see the options of `visualsearch index`. ``patterns`` are those of .gitignore."""

    name: str = ""
    patterns: tuple[str, ...] = ()
    dry_run: bool = False
    prune: bool = False
    yes: bool = False
    watch: bool = False


class FolderIndexing:
    """Indexes folders into the corpus of these stores, and prints what happens."""

    def __init__(self, stores: IndexingStores, console: Console, options: FolderOptions) -> None:
        self._stores = stores
        self._console = console
        self._options = options
        self._pruning = Pruning(stores.object_store, stores.image_repository, stores.events)

    async def run(self, path: Path) -> Summary:
        """Index a folder, or one file; follow the folder without end if that is wanted."""
        folder = Folder(path, patterns=self._options.patterns)
        if not folder.is_whole and (self._options.prune or self._options.watch):
            raise InvalidInput("--prune and --watch are for folders.")
        if self._options.watch and self._options.dry_run:
            raise InvalidInput("--watch cannot be tried with --dry-run.")
        names = IndexNames(self._stores, self._console, dry_run=self._options.dry_run)
        folder = await names.named_folder(folder, self._options.name)
        if not self._options.watch:
            return await self._index(folder)
        async with FolderWatch(folder.root) as watch:
            await self._index(folder)
            self._print(f"Watching {folder.root}; Ctrl-C ends it.")
            while True:
                await self._follow(folder, watch)

    async def _index(self, folder: Folder) -> Summary:
        summary = await index_with_bar(self._stores, folder, self._console, dry_run=self._options.dry_run)
        if self._options.prune:
            await self._prune(folder, summary)
        return summary

    async def _prune(self, folder: Folder, summary: Summary) -> None:
        gone = await self._gone(folder, (folder.root,), summary)
        if not gone:
            self._print("There is nothing to remove.")
            return
        if not summary.seen:
            raise InvalidInput(
                "The folder has no pictures: nothing is removed, because its disk may be missing. If it is to "
                f"be empty, `visualsearch images delete --prefix {shlex.quote(folder.prefix)}` removes "
                f"{images(len(gone))}."
            )
        print_gone(gone, self._console)
        if self._options.dry_run:
            self._print(f"{images(len(gone))} would be removed.")
        elif self._options.yes or typer.confirm(f"Remove {images(len(gone))}?"):
            await self._remove(folder, gone)

    async def _gone(self, folder: Folder, paths: Sequence[Path], summary: Summary) -> list[Image]:
        unread = [folder.key(path) for path in folder.omissions.unread]
        return await self._pruning.gone([folder.key(path) for path in paths], summary.seen, unread)

    async def _remove(self, folder: Folder, gone: Sequence[Image]) -> None:
        subject = f"{images(len(gone))} below {folder.prefix}"
        async with audited(self._stores.audit_log, operator(), Action.DELETE_IMAGE, subject):
            await self._pruning.remove(gone)
        self._print(f"{images(len(gone))} removed.")

    async def _follow(self, folder: Folder, watch: FolderWatch) -> None:
        """Index the next files that change; if a server is down, try them again."""
        paths = await watch.quiet_paths()
        if not folder.exists():
            raise InvalidInput(f"{folder.root} is gone. Nothing was removed from the corpus.")
        try:
            await self._index_part(folder.only(paths), paths)
        except Unavailable as error:
            self._print(f"{error} The changes wait.")
            watch.put_back(paths)

    async def _index_part(self, part: Folder, paths: Sequence[Path]) -> None:
        stores = self._stores
        summary = await index_all(
            part, stores.object_store, stores.image_repository, stores.events, on_progress=lambda _: None
        )
        if summary.indexed or summary.rejected:
            print_summary(summary, part.omissions, self._console)
        if self._options.prune and (gone := await self._gone(part, paths, summary)):
            await self._remove(part, gone)

    def _print(self, text: str) -> None:
        self._console.print(Text(printable(text)), soft_wrap=True)
