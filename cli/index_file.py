"""`visualsearch export-index` and `import-index`: the index as a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import operator, with_stores
from cli.console import out
from cli.progress import counting
from indexer.exchange.index_export import IndexExport
from indexer.exchange.index_import import IndexImport
from indexer.parquet import require_parquet
from visualsearch.audit import audited
from visualsearch.domain.audit import Action
from visualsearch.releases.active_releases import ActiveReleases

if TYPE_CHECKING:
    from indexer.exchange.index_import import ImportReport
    from visualsearch.composition import Stores

LISTED = 100
"""So many refused images are listed one by one; the rest is counted."""

Release = Annotated[str, typer.Option(help="A release; the live one by default.")]


def export_index(
    file: Annotated[Path, typer.Argument(help="A Parquet file that does not exist yet.")],
    *,
    release: Release = "",
    public: Annotated[bool, typer.Option("--public", help="Leave out private images.")] = False,
) -> None:
    """Write ids, uris, hashes and vectors of the indexed images into a Parquet file, for use elsewhere."""

    async def work(stores: Stores) -> int:
        releases = ActiveReleases(stores.release_repository)
        chosen = await (releases.named(release) if release else releases.live())
        export = IndexExport(stores.image_repository, stores.vectors, stores.object_store.bucket)
        async with audited(stores.audit_log, operator(), Action.EXPORT_INDEX, str(file.absolute())):
            with counting(out) as show:
                return await export.run(
                    file, chosen, public_only=public, on_progress=lambda number: show("images", number)
                )

    require_parquet()
    number = with_stores(work)
    out.print(f"{number:,} images are in {file}.", highlight=False)


def import_index(
    file: Annotated[Path, typer.Argument(help="What `visualsearch export-index` wrote.")], *, release: Release = ""
) -> None:
    """Make the pictures of an exported index searchable without encoding them. They must be in the bucket already."""

    async def work(stores: Stores) -> ImportReport:
        releases = ActiveReleases(stores.release_repository)
        chosen = await (releases.named(release) if release else releases.live())
        importing = IndexImport(stores.image_repository, stores.vectors, stores.object_store, chosen)
        async with audited(stores.audit_log, operator(), Action.IMPORT_INDEX, str(file.absolute())):
            with counting(out) as show:
                report = await importing.run(file, on_progress=lambda number: show("images", number))
        if len(await releases.written()) > 1:
            out.print(
                f"Only release {chosen.name} has them: `visualsearch reconcile --repair` adds them to the others."
            )
        return report

    require_parquet()
    _print(with_stores(work))


def _print(report: ImportReport) -> None:
    out.print(
        f"{report.imported:,} imported, {report.unchanged:,} unchanged, {len(report.refused):,} refused.",
        highlight=False,
    )
    for uri, reason in report.refused[:LISTED]:
        out.print(f"{uri}: {reason}", highlight=False, markup=False)
    if len(report.refused) > LISTED:
        out.print(f"... and {len(report.refused) - LISTED} more.")
    raise typer.Exit(1 if report.refused else 0)
