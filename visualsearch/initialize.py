"""Makes fresh stores ready, and finds nothing to do in stores that are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.releases.active_releases import ensure_live, new_release

if TYPE_CHECKING:
    from visualsearch.composition import Stores
    from visualsearch.domain.releases import Release
    from visualsearch.settings import Settings


async def initialize(stores: Stores, settings: Settings) -> Release:
    """Create bucket, stream group, collection and first release, each where it is missing; return what is live.

    The schema must have been migrated. Raises ``Unavailable`` naming the server that does not answer.
    """
    await stores.object_store.ensure_bucket()
    await stores.events.ensure_group()
    fingerprint = await stores.encoder.fingerprint(settings.model_version)
    profile = settings.index_profile
    wanted = new_release(settings.model_version, fingerprint, profile, stores.vectors.search_params(profile))
    return await ensure_live(stores.catalog, stores.vectors, wanted)
