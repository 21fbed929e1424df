"""Reconciliation, backup and restore as a person at a terminal starts and sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from cli.progress import counting
from indexer.maintenance.backup import Backup
from indexer.maintenance.backup_archive import Places
from indexer.maintenance.reconcile import Reconcile
from indexer.maintenance.restore import Restore
from indexer.pipeline.ingest import Ingest
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.releases.active_releases import ActiveReleases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from indexer.maintenance.backup_archive import Manifest
    from indexer.maintenance.reconcile import ReconciliationReport
    from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
    from visualsearch.composition import Stores


async def backup_with_counts(
    stores: Stores, dump: PostgresTableCopy, model_folder: Path, console: Console, folder: Path, *, with_objects: bool
) -> Manifest:
    """Write a backup into a new folder; show counts on the way."""
    with counting(console) as show:
        manifest = await Backup(_places(stores, dump, model_folder, show)).run(folder, with_objects=with_objects)
    _print_manifest(manifest, console)
    return manifest


async def restore_with_counts(
    stores: Stores, dump: PostgresTableCopy, model_folder: Path, console: Console, folder: Path
) -> Manifest:
    """Bring a backup into an empty stack; show counts on the way."""
    with counting(console) as show:
        manifest = await Restore(_places(stores, dump, model_folder, show)).run(folder)
    _print_manifest(manifest, console)
    return manifest


def _places(
    stores: Stores, dump: PostgresTableCopy, model_folder: Path, on_progress: Callable[[str, int], None]
) -> Places:
    return Places(
        dump,
        stores.image_repository,
        stores.release_repository,
        stores.vectors,
        stores.object_store,
        model_folder,
        on_progress,
    )


def _print_manifest(manifest: Manifest, console: Console) -> None:
    vectors = ", ".join(f"{number} vectors of {name}" for name, number in manifest.vectors.items()) or "no vectors"
    objects = f"{manifest.objects} objects ({manifest.object_bytes / 1e6:.1f} MB)"
    if not manifest.with_objects:
        objects += ", listed only"
    if manifest.left_out:
        objects += f", {len(manifest.left_out)} left out (manifest.json says why)"
    console.print(
        f"Of {manifest.made_at}: {manifest.rows.get('images', 0)} images, {vectors}, {objects}, "
        f"{len(manifest.models)} model version(s).",
        highlight=False,
    )


async def reconcile_with_counts(stores: Stores, console: Console, *, repair: bool) -> ReconciliationReport:
    """Compare the stores, and every release's collection; show counts on the way and what differs at the end."""
    with PicturePool() as pool, counting(console) as show:
        ingest = Ingest(stores.encoder, stores.vectors, stores.image_repository, stores.object_store, pool)
        report = await Reconcile(
            stores.object_store,
            stores.image_repository,
            stores.vectors,
            stores.events,
            stores.indexing_progress,
            rewrite=ingest.rewrite if repair else None,
            on_progress=show,
        ).run(await ActiveReleases(stores.release_repository).written())
    _print(report, console, repair=repair)
    return report


def _print(report: ReconciliationReport, console: Console, *, repair: bool) -> None:
    vectors = ", ".join(f"{number} vectors of {name}" for name, number in report.vectors.items()) or "no vectors"
    console.print(f"{report.objects} objects, {report.rows} rows, {vectors}.", highlight=False)
    if report.unusable_keys:
        console.print(f"{report.unusable_keys}.", highlight=False, markup=False)
    if report.agrees:
        console.print("They agree.")
        return
    table = Table("release", "what differs", "number", "such as")
    for (release, kind), number in report.counts.items():
        table.add_row(release or "-", kind.value, str(number), "\n".join(report.examples[release, kind][:5]))
    console.print(table)
    console.print(
        "Repaired, or queued for the indexers." if repair else "`visualsearch reconcile --repair` repairs it."
    )
