"""Reconciles Milvus and Triton with the releases: aliases, loaded model versions and retired collections.

Postgres alone decides which release answers. A step here may lag or fail without harm, because it is repeated: after
every command, and every few seconds by the indexer that holds the lease.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.release_state import Job
from visualsearch.releases.active_releases import CACHE_S, CANARY_ALIAS, LIVE_ALIAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.release_state import ReleaseRecord, Releases
    from visualsearch.ports import ModelControl, Vectors

LONGEST_REQUEST_S = 2.5
"""Upper bound of a request's duration: the highest VISUALSEARCH_DEADLINE_MS and a little more.

A release that was retired longer ago than ``GRACE`` serves no request."""
GRACE = timedelta(seconds=2 * CACHE_S + LONGEST_REQUEST_S)


async def follow(
    records: Releases, vectors: Vectors, models: ModelControl, *, now: datetime | None = None
) -> list[str]:
    """Reconcile all servers; return what was done, one sentence each.

    Removes a retired release's collection and model once no request in flight can use them. Raises ``Unavailable``, and
    ``ConfigurationError`` if a needed model cannot be loaded.
    """
    done = await _aliases(records, vectors)
    kept, retired = records.kept, records.retired
    removable = [one for one in retired if (now or datetime.now(UTC)) - one.since > GRACE]
    done += await _collections(kept, removable, vectors)
    done += await _models(kept, retired, removable, models)
    return done


async def _aliases(records: Releases, vectors: Vectors) -> list[str]:
    done = []
    current = await vectors.aliased()
    for alias, one in ((LIVE_ALIAS, records.live), (CANARY_ALIAS, records.canary)):
        wanted = one.release.collection if one else None
        if wanted == current.get(alias):
            continue
        if wanted is None:
            await vectors.drop_alias(alias)
        else:
            await vectors.point_alias(alias, wanted)
        done.append(f"The alias {alias} names {wanted or 'nothing'}.")
    return done


async def _collections(kept: Releases, removable: Sequence[ReleaseRecord], vectors: Vectors) -> list[str]:
    needed = {one.release.collection for one in kept}
    current = set(await vectors.collections()) if removable else set()
    dropped = sorted({one.release.collection for one in removable} & current - needed)
    for collection in dropped:
        await vectors.drop(collection)
    return [f"The collection {collection} is gone." for collection in dropped]


async def _models(
    kept: Releases, retired: Releases, removable: Sequence[ReleaseRecord], models: ModelControl
) -> list[str]:
    """Unload versions that only retired releases used, and load versions that Triton lost in a restart.

    A requested build loads its model itself, so that a model that cannot be loaded does not block the rest.
    """
    served = await models.served()
    used = {one.release.model_version for one in kept}
    needed = {one.release.model_version for one in kept if one.job is not Job.BUILD}
    in_grace = {one.release.model_version for one in retired if one not in removable}
    unused = {one.release.model_version for one in removable} - used - in_grace
    wanted = (served | needed) - unused
    if wanted == served:
        return []
    await models.serve(wanted)
    return [f"The encoder's version {number} is loaded." for number in sorted(wanted - served)] + [
        f"The encoder's version {number} is unloaded." for number in sorted(served - wanted)
    ]
