"""Which model version and which collection answer.

A release is resolved once per request, so that one answer never mixes two.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from visualsearch.domain import Release, ReleaseState
from visualsearch.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visualsearch.ports import Catalog, Vectors

LIVE_ALIAS = "images_live"
"""Name under which people see the live collection in Milvus' console."""

CACHE_S = 1.0
"""How long a resolved release may be used before the catalog is asked again."""

REFRESH_S = 0.3
"""How long a known release waits for a newer one: a hanging catalog must not hang what needs no catalog."""


class Releases:
    """The releases, cached for a second so that a request does not pay a query for them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: list[tuple[Release, str]] = []
        self._until = 0.0

    async def live(self) -> Release:
        """Return the release that answers; the last one known while the catalog is down.

        Raises ``Unavailable`` when none is known.
        """
        return (await self.written())[0]

    async def written(self) -> list[Release]:
        """Return every release that new images must reach: the live one first, the retired ones left out.

        Raises ``Unavailable`` when no live one is known.
        """
        if not self._kept or time.monotonic() >= self._until:
            self._until = time.monotonic() + CACHE_S
            try:
                async with asyncio.timeout(REFRESH_S if self._kept else None):
                    rows = await self._catalog.releases()
                self._kept = [(release, state) for release, state, _ in rows] or self._kept
            except (Unavailable, TimeoutError):
                if not self._kept:
                    raise
        live = [release for release, state in self._kept if state == ReleaseState.LIVE]
        if not live:
            raise Unavailable("The live release", "none has been made yet; run `visualsearch init`")
        return live + [one for one, state in self._kept if state not in {ReleaseState.LIVE, ReleaseState.RETIRED}]


def new_release(
    model_version: int, fingerprint: str, profile: str, search_params: Mapping[str, int], name: str = ""
) -> Release:
    """Describe a release that is to be made; its name is made of version and profile where none is given."""
    name = name or re.sub(r"\W+", "_", f"v{model_version}_{profile}")
    return Release(
        name=name,
        model_version=model_version,
        fingerprint=fingerprint,
        collection=f"images_{name}",
        profile=profile,
        search_params=search_params,
    )


async def ensure_live(catalog: Catalog, vectors: Vectors, wanted: Release) -> Release:
    """Return the live release, with its collection there; make ``wanted`` live where there is none yet."""
    live = await catalog.live_release()
    release = live or wanted
    await vectors.create(release.collection, release.profile)
    if live is None:
        await catalog.add_release(release, ReleaseState.LIVE)
    await vectors.point_alias(LIVE_ALIAS, release.collection)
    return release
