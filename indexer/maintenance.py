"""Rebuild and reconciliation as a person at a terminal starts and sees them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import Progress, TextColumn
from rich.table import Table

from indexer.backup import Backup
from indexer.ingest import Ingest
from indexer.progress import COLUMNS
from indexer.rebuild import Rebuild
from indexer.reconcile import Reconcile
from indexer.restore import Restore
from visualsearch.domain import ReleaseState
from visualsearch.errors import ConfigurationError, InvalidInput
from visualsearch.releases import Releases, new_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console
    from rich.progress import TaskID

    from indexer.archive import Manifest
    from indexer.reconcile import Report
    from visualsearch.domain import Build, Release
    from visualsearch.dump import PostgresDump
    from visualsearch.wiring import Stores

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
"""What can be part of a collection's name in Milvus."""


async def build_with_bar(
    stores: Stores, console: Console, model_version: int | None, profile: str | None, name: str | None
) -> Release:
    """Build a release that differs from the live one in what is given, or go on building it; show a bar."""
    release = await _wanted(stores, model_version, profile, name)
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool, Progress(*COLUMNS, console=console) as bar:
        ingest = Ingest(stores.encoder, stores.vectors, stores.catalog, stores.blobs, pool)
        task = bar.add_task(f"building {release.name}", total=None)

        def show(build: Build) -> None:
            bar.update(task, completed=build.done, total=build.total)

        def reconcile() -> Reconcile:
            return Reconcile(stores.blobs, stores.catalog, stores.vectors, stores.events, rewrite=ingest.rewrite)

        await Rebuild(stores.catalog, stores.vectors, ingest, reconcile, show).run(release)
    return release


async def _wanted(stores: Stores, model_version: int | None, profile: str | None, name: str | None) -> Release:
    """Describe the release that is asked for, or find it where its build was begun before."""
    if name is not None and not NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a release: letters, digits and _ only, a letter first.")
    live = await Releases(stores.catalog).live()
    version, profile = model_version or live.model_version, profile or live.profile
    params = stores.vectors.search_params(profile)
    release = new_release(version, await stores.encoder.fingerprint(version), profile, params, name or "")
    known = {one.name: (one, state) for one, state, _ in await stores.catalog.releases()}
    if release.name in known:
        begun, state = known[release.name]
        if state != ReleaseState.BUILDING:
            raise InvalidInput(f"Release {release.name} is {state} already; choose another --name.")
        if begun != release:
            raise ConfigurationError(f"Release {release.name} was begun as {begun}; that is not what is asked for now.")
    if not release.fingerprint:
        raise ConfigurationError(f"Model version {version} has no card in the model repository; publish it first.")
    await stores.encoder.check(version)
    return release


@contextmanager
def _counting(console: Console) -> Iterator[Callable[[str, int], None]]:
    """Show how much of each thing is done: for work whose end nobody knows beforehand."""
    tasks: dict[str, TaskID] = {}
    with Progress(TextColumn("{task.description}: {task.completed}"), console=console) as bar:

        def show(what: str, number: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=number)

        yield show


async def backup_with_counts(
    stores: Stores, dump: PostgresDump, model_folder: Path, console: Console, folder: Path, *, with_objects: bool
) -> Manifest:
    """Write a backup into a new folder; show counts on the way."""
    with _counting(console) as show:
        work = Backup(dump, stores.catalog, stores.vectors, stores.blobs, model_folder, show)
        manifest = await work.run(folder, with_objects=with_objects)
    _print_manifest(manifest, console)
    return manifest


async def restore_with_counts(
    stores: Stores, dump: PostgresDump, model_folder: Path, console: Console, folder: Path
) -> Manifest:
    """Bring a backup into an empty stack; show counts on the way."""
    with _counting(console) as show:
        work = Restore(dump, stores.catalog, stores.vectors, stores.blobs, model_folder, show)
        manifest = await work.run(folder)
    _print_manifest(manifest, console)
    return manifest


def _print_manifest(manifest: Manifest, console: Console) -> None:
    vectors = ", ".join(f"{number} vectors of {name}" for name, number in manifest.vectors.items()) or "no vectors"
    objects = f"{manifest.objects} objects ({manifest.object_bytes / 1e6:.1f} MB)"
    if not manifest.with_objects:
        objects += ", listed only"
    console.print(
        f"Of {manifest.made_at}: {manifest.rows.get('images', 0)} images, {vectors}, {objects}, "
        f"{len(manifest.models)} model version(s).",
        highlight=False,
    )


async def reconcile_with_counts(stores: Stores, console: Console, *, repair: bool) -> Report:
    """Compare the stores, and every release's collection; show counts on the way and what differs at the end."""
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool, _counting(console) as show:
        ingest = Ingest(stores.encoder, stores.vectors, stores.catalog, stores.blobs, pool)
        report = await Reconcile(
            stores.blobs,
            stores.catalog,
            stores.vectors,
            stores.events,
            rewrite=ingest.rewrite if repair else None,
            on_progress=show,
        ).run(await Releases(stores.catalog).written())
    _print(report, console, repair=repair)
    return report


def _print(report: Report, console: Console, *, repair: bool) -> None:
    vectors = ", ".join(f"{number} vectors of {name}" for name, number in report.vectors.items()) or "no vectors"
    console.print(f"{report.objects} objects, {report.rows} rows, {vectors}.", highlight=False)
    if report.agrees:
        console.print("They agree.")
        return
    table = Table("release", "what differs", "number", "such as")
    for (release, kind), number in report.counts.items():
        table.add_row(release or "-", kind.value, str(number), "\n".join(report.examples[release, kind][:5]))
    console.print(table)
    console.print(
        "Repaired, or told to the indexers." if repair else "`visualsearch reconcile --repair` puts it right."
    )
