"""Long work as a person at a terminal sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from indexer.sources.bulk import index_all

if TYPE_CHECKING:
    from rich.console import Console

    from indexer.sources.bulk import IndexingCounts, Summary
    from indexer.sources.picture_sources import PictureSource
    from visualsearch.composition import Stores

LISTED_REJECTS = 100
"""So many rejects are listed one by one; the rest is counted."""


class RateColumn(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """Render the speed of the last moments, or of the whole when finished."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f} images/s" if speed else "- images/s")


COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())


async def index_with_bar(stores: Stores, source: PictureSource, console: Console) -> Summary:
    """Index a source while a bar shows rate, remaining time and rejects; print what came of it."""
    with Progress(*COLUMNS, TextColumn("{task.fields[rejects]} rejected"), console=console) as bar:
        task = bar.add_task("indexing", total=None, rejects=0)

        def show(counts: IndexingCounts) -> None:
            done = counts.indexed + counts.rejected + counts.skipped
            bar.update(task, completed=done, total=counts.total or None, rejects=counts.rejected)

        summary = await index_all(source, stores.object_store, stores.image_repository, stores.events, on_progress=show)
    print_summary(summary, console)
    return summary


def print_summary(summary: Summary, console: Console) -> None:
    """Say what was indexed, and list each reject with its reason."""
    rate = f", {summary.indexed / summary.seconds:.0f} a second" if summary.indexed and summary.seconds else ""
    console.print(
        f"{summary.indexed} indexed, {summary.skipped} unchanged, {len(summary.rejected)} rejected "
        f"in {summary.seconds:.1f} s{rate}.",
        highlight=False,
    )
    if not summary.rejected:
        return
    table = Table("rejected", "reason")
    for path, reason in summary.rejected[:LISTED_REJECTS]:
        table.add_row(str(path), reason)
    console.print(table)
    if len(summary.rejected) > LISTED_REJECTS:
        console.print(f"... and {len(summary.rejected) - LISTED_REJECTS} more.")
