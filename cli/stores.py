"""`visualsearch reconcile`, `backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import open_table_copy, operator, with_stores
from cli.console import out
from cli.maintenance_progress import backup_with_counts, reconcile_with_counts, restore_with_counts
from visualsearch.audit import audited
from visualsearch.domain.audit import Action
from visualsearch.initialize import initialize
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from indexer.maintenance.reconcile import ReconciliationReport
    from visualsearch.composition import Stores


def reconcile(
    *, repair: Annotated[bool, typer.Option(help="Repair the differences, or queue them for the indexers.")] = False
) -> None:
    """Compare the object store, Postgres and the collections; exit with 1 when they differ."""

    async def work(stores: Stores) -> ReconciliationReport:
        if not repair:
            return await reconcile_with_counts(stores, out, repair=False)
        async with audited(stores.audit_log, operator(), Action.REPAIR, "all stores"):
            return await reconcile_with_counts(stores, out, repair=True)

    report = with_stores(work)
    raise typer.Exit(0 if report.agrees else 1)


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    *,
    objects: Annotated[bool, typer.Option(help="Copy the pictures too, not only their list.")] = True,
) -> None:
    """Write everything into one folder while search goes on: rows, vectors, models, pictures."""
    settings = Settings.load()
    models = settings.model_repository / settings.model_name

    async def work(stores: Stores) -> None:
        async with audited(stores.audit_log, operator(), Action.BACK_UP, str(folder.absolute())):
            await backup_with_counts(stores, open_table_copy(), models, out, folder, with_objects=objects)

    with_stores(work)
    out.print(f"Backup: {folder}", highlight=False, markup=False)


def restore(folder: Annotated[Path, typer.Argument(help="What `visualsearch backup` wrote.")]) -> None:
    """Bring a backup into an empty stack that runs, then compare the stores and repair what differs."""
    settings = Settings.load()

    async def work(stores: Stores) -> None:
        await restore_with_counts(
            stores, open_table_copy(), settings.model_repository / settings.model_name, out, folder
        )
        # Only now, because the log too comes out of the backup.
        async with audited(stores.audit_log, operator(), Action.RESTORE, str(folder.absolute())):
            await initialize(stores, settings)  # the live release's alias, for people in Milvus' console
            await reconcile_with_counts(stores, out, repair=True)

    with_stores(work)
