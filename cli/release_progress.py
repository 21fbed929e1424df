"""Building a release, with a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import Progress

from cli.index_progress import COLUMNS
from indexer.releases.release_build import build
from visualsearch.imaging.picture_pool import PicturePool

if TYPE_CHECKING:
    from rich.console import Console

    from visualsearch.composition import Stores
    from visualsearch.domain.releases import Build, Release
    from visualsearch.releases.lifecycle import Lifecycle


async def build_with_bar(stores: Stores, console: Console, lifecycle: Lifecycle, release: Release) -> None:
    """Build a release as ``release_build.build`` does, and show a bar."""
    with PicturePool() as pool, Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task(f"building {release.name}", total=None)

        def show(progress: Build) -> None:
            bar.update(task, completed=progress.done, total=progress.total)

        await build(stores, release, lifecycle, pool, show)
