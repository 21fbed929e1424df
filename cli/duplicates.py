"""`visualsearch duplicates`: copies and near-duplicates in the whole corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import with_stores
from cli.console import err, out, print_json
from cli.duplicates_page import write_page
from cli.duplicates_table import duplicates_table, summary
from cli.progress import counting
from indexer.maintenance.duplicate_report import find_duplicates
from visualsearch.releases.active_releases import ActiveReleases

if TYPE_CHECKING:
    from indexer.maintenance.duplicate_report import DuplicateReport
    from visualsearch.composition import Stores


def duplicates(
    *,
    html: Annotated[Path | None, typer.Option(help="Write a page that shows the groups side by side.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest groups of each kind that table and page show.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print all groups, for programs.")] = False,
) -> None:
    """Find copies and near-duplicates among all indexed images, private ones of all owners included."""

    async def work(stores: Stores) -> DuplicateReport:
        release = await ActiveReleases(stores.release_repository).live()
        with counting(err) as show:
            report = await find_duplicates(
                stores.image_repository, stores.duplicate_exclusions, stores.vectors, release, show
            )
            if html:
                await write_page(html, report, stores.object_store, limit, show)
        return report

    report = with_stores(work)
    if json:
        print_json(report.to_json())
    else:
        out.print(duplicates_table(report, limit))
        out.print(summary(report, limit), highlight=False)
    if html:
        err.print(f"Page: {html}", highlight=False)
