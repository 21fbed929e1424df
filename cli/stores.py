"""`visualsearch reconcile`, `backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connections import open_table_copy, with_stores
from cli.console import out
from cli.maintenance_progress import backup_with_counts, reconcile_with_counts, restore_with_counts
from visualsearch.initialize import initialize
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from visualsearch.composition import Stores


def reconcile(
    *, repair: Annotated[bool, typer.Option(help="Repair the differences, or queue them for the indexers.")] = False
) -> None:
    """Compare the object store, Postgres and the collections; exit with 1 when they differ."""
    report = with_stores(lambda stores: reconcile_with_counts(stores, out, repair=repair))
    raise typer.Exit(0 if report.agrees else 1)


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    *,
    objects: Annotated[bool, typer.Option(help="Copy the pictures too, not only their list.")] = True,
) -> None:
    """Write everything into one folder while search goes on: rows, vectors, models, pictures."""
    settings = Settings.load()
    models = settings.model_repository / settings.model_name
    with_stores(lambda stores: backup_with_counts(stores, open_table_copy(), models, out, folder, with_objects=objects))
    out.print(f"Backup: {folder}", highlight=False)


def restore(folder: Annotated[Path, typer.Argument(help="What `visualsearch backup` wrote.")]) -> None:
    """Bring a backup into an empty stack that runs, then compare the stores and repair what differs."""
    settings = Settings.load()

    async def work(stores: Stores) -> None:
        await restore_with_counts(
            stores, open_table_copy(), settings.model_repository / settings.model_name, out, folder
        )
        await initialize(stores, settings)  # the live release's alias, for people in Milvus' console
        await reconcile_with_counts(stores, out, repair=True)

    with_stores(work)
