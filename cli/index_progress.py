"""Indexing as a person at a terminal sees it, while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from cli.index_report import print_summary
from indexer.sources.bulk import index_all

if TYPE_CHECKING:
    from rich.console import Console

    from indexer.sources.index_summary import IndexingCounts, Summary
    from indexer.sources.picture_sources import PictureSource
    from visualsearch.indexing_stores import IndexingStores


class RateColumn(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """Render the speed of the last moments, or of the whole when finished."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} images/s" if speed else "- images/s")


COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())


async def index_with_bar(
    stores: IndexingStores, source: PictureSource, console: Console, *, dry_run: bool = False
) -> Summary:
    """Index a source while a bar shows rate, remaining time and rejects; print what came of it."""
    with Progress(*COLUMNS, TextColumn("{task.fields[rejects]} rejected"), console=console) as bar:
        task = bar.add_task("comparing" if dry_run else "indexing", total=None, rejects=0)

        def show(counts: IndexingCounts) -> None:
            bar.update(task, completed=counts.done, total=counts.total or None, rejects=counts.rejected)

        summary = await index_all(
            source, stores.object_store, stores.image_repository, stores.events, on_progress=show, dry_run=dry_run
        )
    print_summary(summary, source.omissions, console, dry_run=dry_run)
    return summary
