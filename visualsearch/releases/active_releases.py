"""Which model version and which collection answer.

A release is resolved once per request, so that one answer never mixes two.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import TYPE_CHECKING

from visualsearch.domain.errors import ConfigurationError, Conflict, InvalidInput, NotFound, Unavailable
from visualsearch.domain.release_state import Job, ReleaseRecord
from visualsearch.domain.releases import Release, ReleaseState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from visualsearch.ports import Catalog, Encoder, ReleaseRepository, Vectors

LIVE_ALIAS = "images_live"
"""Name under which people see the live collection in Milvus' console."""
CANARY_ALIAS = "images_canary"
"""The same for the collection of the canary, where there is one."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
"""What can be part of a collection's name in Milvus."""

CACHE_S = 0.5
"""How long a resolved release may be used before the catalog is asked again."""

REFRESH_S = 0.3
"""How long a known release waits for a newer one: a hanging catalog must not hang what needs no catalog."""


class Releases:
    """The releases, cached for a moment so that a request does not pay a query for them.

    With a ``log``, canaries and shadows are known too.
    """

    def __init__(
        self, catalog: Catalog, log: ReleaseRepository | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._catalog = catalog
        self._log = log
        self._kept: list[ReleaseRecord] = []
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def live(self) -> Release:
        """Return the release that answers; the last one known while the catalog is down.

        Raises ``Unavailable`` when none is known.
        """
        return _live(await self.records()).release

    async def for_request(self, key: bytes) -> Release:
        """Return the release that answers a request: the canary for its share of the keys, else the live one.

        A key (a user, or a picture where nobody says who asks) has the same answer until the share changes, and stays
        with the canary when the share grows. Raises ``Unavailable`` as ``live`` does.
        """
        records = await self.records()
        for one in records:
            if one.canary is not None and one.state == ReleaseState.CANARY:
                place = hashlib.blake2b(key, key=one.release.name.encode()[:64], digest_size=8).digest()
                if int.from_bytes(place, "big") / 2**64 * 100 < one.canary.share:
                    return one.release
        return _live(records).release

    def shadow(self) -> ReleaseRecord | None:
        """Return the release that runs out of sight beside the live one, as last heard."""
        return next((one for one in self._kept if one.shadow and one.state == ReleaseState.READY), None)

    async def named(self, name: str) -> Release:
        """Return a release that can answer, by its name; raises ``NotFound``."""
        for one in await self.records():
            if one.release.name == name and one.state not in {ReleaseState.BUILDING, ReleaseState.RETIRED}:
                return one.release
        raise NotFound(f"No release {name!r} can answer: it is being built, was retired, or never was.")

    async def written(self) -> list[Release]:
        """Return every release that new images must reach: the live one first, the retired ones left out.

        Raises ``Unavailable`` when no live one is known.
        """
        records = await self.records()
        others = [one for one in records if one.state not in {ReleaseState.LIVE, ReleaseState.RETIRED}]
        # One whose build is only asked for has no model yet that is known to work.
        return [_live(records).release, *(one.release for one in others if one.job is not Job.BUILD)]

    async def records(self) -> list[ReleaseRecord]:
        """Return where every release stands, as of the last half second; of longer ago while the catalog is down."""
        if not self._kept:
            self._kept = await self._ask()
            self._until = self._clock() + CACHE_S
        elif self._clock() >= self._until and (self._asking is None or self._asking.done()):
            # One asks for all, and goes on asking after nobody waits any more: a slow catalog is heard, if late.
            self._asking = asyncio.create_task(self._refresh())
            await asyncio.wait({self._asking}, timeout=REFRESH_S)
        return self._kept

    async def _refresh(self) -> None:
        try:
            self._kept = await self._ask() or self._kept
        except Unavailable:
            pass  # what was known before is used on
        finally:
            self._until = self._clock() + CACHE_S

    async def _ask(self) -> list[ReleaseRecord]:
        if self._log is not None:
            return await self._log.records()
        rows = await self._catalog.releases()
        return [ReleaseRecord(release, ReleaseState(state), since) for release, state, since in rows]


def _live(records: Sequence[ReleaseRecord]) -> ReleaseRecord:
    for one in records:
        if one.state == ReleaseState.LIVE:
            return one
    raise Unavailable("The live release", "none has been made yet; run `visualsearch init`")


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


async def wanted(
    log: ReleaseRepository,
    encoder: Encoder,
    vectors: Vectors,
    model_version: int | None,
    profile: str | None,
    name: str | None,
) -> Release:
    """Describe the release that is asked for, which differs from the live one in what is given.

    Raises ``InvalidInput`` for a name that is none, ``ConfigurationError`` for a version without a card or a profile
    that there is not, and ``Conflict`` where the name is taken.
    """
    if name is not None and not NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a release: letters, digits and _ only, a letter first.")
    records = await log.records()
    live = _live(records).release
    version, profile = model_version or live.model_version, profile or live.profile
    # What the live release was tuned to fits another index of the same profile better than the profile's own.
    params = live.search_params if profile == live.profile else vectors.search_params(profile)
    release = new_release(version, await encoder.fingerprint(version), profile, params, name or "")
    if not release.fingerprint:
        raise ConfigurationError(f"Model version {version} has no card in the model repository; publish it first.")
    for one in records:
        if one.release.name == release.name and one.state != ReleaseState.BUILDING:
            raise Conflict(f"Release {release.name} is {one.state} already; choose another name.")
    return release
