"""Builds a release: loads and checks its model, then fills its collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from indexer.maintenance.rebuild import Rebuild
from indexer.maintenance.reconcile import Reconcile
from indexer.pipeline.ingest import Ingest
from visualsearch.domain.errors import ConfigurationError, Unavailable, VisualSearchError
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE, UNIT_NORM_TOLERANCE
from visualsearch.domain.release_state import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.composition import Stores
    from visualsearch.domain.releases import Build, Release
    from visualsearch.imaging.picture_pool import PicturePool
    from visualsearch.releases.lifecycle import Lifecycle


async def build(
    stores: Stores,
    release: Release,
    lifecycle: Lifecycle,
    pool: PicturePool,
    on_progress: Callable[[Build], None],
    job: Job = Job.NONE,
) -> None:
    """Build a release, or resume its build; the release is ready when this returns.

    Failures are recorded in the history with their reason. Raises ``ConfigurationError`` for a model that does not
    work, before indexers know of the release, and ``Unavailable`` if a server stays away.
    """
    ingest = Ingest(stores.encoder, stores.vectors, stores.image_repository, stores.object_store, pool)

    def reconcile() -> Reconcile:
        return Reconcile(
            stores.object_store,
            stores.image_repository,
            stores.vectors,
            stores.events,
            stores.indexing_progress,
            rewrite=ingest.rewrite,
        )

    try:
        await load(stores, release)
        await lifecycle.begin(release, job)
        await Rebuild(
            stores.image_repository, stores.release_repository, stores.vectors, ingest, reconcile, on_progress
        ).run(release)
        await lifecycle.ready(release.name)
    except VisualSearchError as error:
        await lifecycle.failed(release, str(error), again=isinstance(error, Unavailable))
        raise


async def load(stores: Stores, release: Release) -> None:
    """Load a release's model beside the loaded ones, and check that it is a suitable encoder.

    Raises ``ConfigurationError`` with the reason. Models that were loaded before keep answering in any case.
    """
    before = await stores.models.served()
    await stores.models.serve(before | {release.model_version})
    pixels = np.zeros((2, IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    pixels[1] = 255
    embeddings = await stores.encoder.encode(pixels, release.model_version)
    trouble = ""
    if embeddings.shape != (len(pixels), EMBEDDING_DIM):
        trouble = f"gives embeddings of {embeddings.shape[-1]} numbers, and {EMBEDDING_DIM} are needed"
    elif not np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=UNIT_NORM_TOLERANCE):
        trouble = "gives embeddings that are not of unit length"
    if trouble:
        await stores.models.serve(before)
        raise ConfigurationError(f"Model version {release.model_version} {trouble}.")
