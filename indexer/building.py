"""A release from the wish to the complete collection: its model is proved before anybody depends on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from indexer.ingest import Ingest
from indexer.progress import COLUMNS
from indexer.rebuild import Rebuild
from indexer.reconcile import Reconcile
from visualsearch.domain import EMBEDDING_DIM, IMAGE_SIDE
from visualsearch.errors import ConfigurationError, Unavailable, VisualSearchError
from visualsearch.standing import Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from rich.console import Console

    from visualsearch.domain import Build, Release
    from visualsearch.lifecycle import Lifecycle
    from visualsearch.wiring import Stores

UNIT = 1e-3
"""An embedding whose length differs from 1 by more than this is none."""


async def build(
    stores: Stores,
    release: Release,
    lifecycle: Lifecycle,
    pool: Executor,
    on_progress: Callable[[Build], None],
    job: Job = Job.NONE,
) -> None:
    """Build a release, or go on with one that was begun; it is ready when this returns.

    What fails is kept in the history with its reason. Raises ``ConfigurationError`` for a model that does not work,
    before indexers know of the release, and ``Unavailable`` when a server stays away.
    """
    ingest = Ingest(stores.encoder, stores.vectors, stores.catalog, stores.blobs, pool)

    def reconcile() -> Reconcile:
        return Reconcile(stores.blobs, stores.catalog, stores.vectors, stores.events, rewrite=ingest.rewrite)

    try:
        await load(stores, release)
        await lifecycle.begin(release, job)
        await Rebuild(stores.catalog, stores.vectors, ingest, reconcile, on_progress).run(release)
        await lifecycle.ready(release.name)
    except VisualSearchError as error:
        await lifecycle.failed(release, str(error), again=isinstance(error, Unavailable))
        raise


async def build_with_bar(stores: Stores, console: Console, lifecycle: Lifecycle, release: Release) -> None:
    """Build as ``build`` does, and show a bar."""
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool, Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task(f"building {release.name}", total=None)

        def show(progress: Build) -> None:
            bar.update(task, completed=progress.done, total=progress.total)

        await build(stores, release, lifecycle, pool, show)


async def load(stores: Stores, release: Release) -> None:
    """Have a release's model loaded beside those that answer, and see that it is an encoder of ours.

    Raises ``ConfigurationError`` with what is wrong; what was loaded before answers on in any case.
    """
    before = await stores.models.served()
    await stores.models.serve(before | {release.model_version})
    pixels = np.zeros((2, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    pixels[1] = 255
    embeddings = await stores.encoder.encode(pixels, release.model_version)
    trouble = ""
    if embeddings.shape != (len(pixels), EMBEDDING_DIM):
        trouble = f"gives embeddings of {embeddings.shape[-1]} numbers, and {EMBEDDING_DIM} are needed"
    elif not np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=UNIT):
        trouble = "gives embeddings that are not of unit length"
    if trouble:
        await stores.models.serve(before)
        raise ConfigurationError(f"Model version {release.model_version} {trouble}.")
