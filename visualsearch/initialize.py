"""Prepares empty stores for use. Does nothing where they are prepared already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.releases.active_releases import ensure_live, new_release

if TYPE_CHECKING:
    from visualsearch.composition import Stores
    from visualsearch.domain.releases import Release
    from visualsearch.settings import Settings


async def initialize(stores: Stores, settings: Settings) -> Release:
    """Create the bucket, stream group, collection and first release if they are missing; return the live release.

    The schema must be migrated already. Raises ``Unavailable`` with the name of the server that does not answer.
    """
    await stores.object_store.ensure_bucket()
    await stores.events.ensure_group()
    fingerprint = await stores.encoder.fingerprint(settings.model_version)
    profile = settings.index_profile
    cosine = await stores.encoder.duplicate_cosine(settings.model_version)
    params = stores.vectors.search_params(profile)
    wanted = new_release(settings.model_version, fingerprint, profile, params, duplicate_cosine=cosine)
    return await ensure_live(stores.release_repository, stores.vectors, wanted)
