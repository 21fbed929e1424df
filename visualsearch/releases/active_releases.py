"""Resolves the active releases: the model version and collection that answer a request.

A release is resolved once per request, so that one answer never mixes two.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import TYPE_CHECKING

from visualsearch.domain.errors import ConfigurationError, Conflict, InvalidInput, NotFound, Unavailable
from visualsearch.domain.near_duplicates import NEAR_DUPLICATE_COSINE
from visualsearch.domain.release_state import Job, ReleaseRecord, Releases
from visualsearch.domain.releases import PIXEL_REVISION, Release, ReleaseState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from visualsearch.ports import Encoder, ReleaseRepository, Vectors

LIVE_ALIAS = "images_live"
"""Milvus alias of the live collection, for people who use Milvus' console."""
CANARY_ALIAS = "images_canary"
"""Milvus alias of the canary's collection, if there is a canary."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
"""Characters that Milvus permits in a collection's name."""

CACHE_S = 0.5
"""How long cached releases are used before the release repository is queried again."""

REFRESH_S = 0.3
"""Longest wait for a refresh while releases are cached, so that a hanging repository does not block other requests."""


class ActiveReleases:
    """The releases, cached briefly so that most requests need no query."""

    def __init__(self, repository: ReleaseRepository, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._repository = repository
        self._kept = Releases()
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def live(self) -> Release:
        """Return the live release; the last known one while the repository is down.

        Raises ``Unavailable`` if none is known.
        """
        return _live(await self.records()).release

    async def for_request(self, key: bytes) -> Release:
        """Return the release for a request: the canary for its share of the keys, otherwise the live release.

        A key (a user, or a picture if the user is unknown) gets the same release until the share changes, and stays
        with the canary when the share grows. Raises ``Unavailable`` as ``live`` does.
        """
        records = await self.records()
        if (one := records.canary) and one.canary:
            place = hashlib.blake2b(key, key=one.release.name.encode()[:64], digest_size=8).digest()
            if int.from_bytes(place, "big") / 2**64 * 100 < one.canary.share:
                return one.release
        return _live(records).release

    def shadow(self) -> ReleaseRecord | None:
        """Return the release that receives shadow traffic, as of the last refresh; None if there is none."""
        return self._kept.shadow

    async def named(self, name: str) -> Release:
        """Return a release that can answer by its name; raises ``NotFound``."""
        if one := (await self.records()).answering.named(name):
            return one.release
        raise NotFound(f"No release {name!r} can answer: it is being built, was retired, or never was.")

    async def written(self) -> list[Release]:
        """Return every release that new images are written to: the live one first, without retired ones.

        Raises ``Unavailable`` if no live release is known.
        """
        records = await self.records()
        others = [one for one in records.kept if one.state != ReleaseState.LIVE]
        # A release whose build is only requested has no model that is known to work.
        return [_live(records).release, *(one.release for one in others if one.job is not Job.BUILD)]

    async def records(self) -> Releases:
        """Return all release records, at most half a second old; older while the repository is down."""
        if not self._kept:
            self._kept = await self._repository.records()
            self._until = self._clock() + CACHE_S
        elif self._clock() >= self._until and (self._asking is None or self._asking.done()):
            # One query serves all callers. It continues after they stop waiting, so that a late answer is still used.
            self._asking = asyncio.create_task(self._refresh())
            await asyncio.wait({self._asking}, timeout=REFRESH_S)
        return self._kept

    async def _refresh(self) -> None:
        try:
            self._kept = await self._repository.records() or self._kept
        except Unavailable:
            pass  # keep the last known releases
        finally:
            self._until = self._clock() + CACHE_S


def _live(records: Releases) -> ReleaseRecord:
    if one := records.live:
        return one
    raise Unavailable("The live release", "none has been made yet; run `visualsearch init`")


def new_release(
    model_version: int,
    fingerprint: str,
    profile: str,
    search_params: Mapping[str, int],
    name: str = "",
    duplicate_cosine: float | None = None,
) -> Release:
    """Return a new release, of the present pixels; by default its name is made of version and profile.

    ``fingerprint`` is that of the model version; ``""`` if it has none. ``duplicate_cosine`` is the one on
    its card, or None.
    """
    name = name or re.sub(r"\W+", "_", f"v{model_version}_{profile}")
    return Release(
        name=name,
        model_version=model_version,
        fingerprint=fingerprint and f"{fingerprint}.{PIXEL_REVISION}",
        collection=f"images_{name}",
        profile=profile,
        search_params=search_params,
        duplicate_cosine=NEAR_DUPLICATE_COSINE if duplicate_cosine is None else duplicate_cosine,
    )


async def ensure_live(repository: ReleaseRepository, vectors: Vectors, wanted: Release) -> Release:
    """Return the live release and create its collection if missing; make ``wanted`` live if there is none."""
    live = (await repository.records()).live
    release = live.release if live else wanted
    await vectors.create(release.collection, release.profile)
    if live is None:
        await repository.add(release, ReleaseState.LIVE)
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
    """Return a new release that differs from the live one in the given arguments.

    Raises ``InvalidInput`` for an invalid name, a version without a model card or an unknown profile, and ``Conflict``
    if the name is taken.
    """
    if name is not None and not NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a release: letters, digits and _ only, a letter first.")
    records = await log.records()
    live = _live(records).release
    version, profile = model_version or live.model_version, profile or live.profile
    # Tuned parameters of the live release suit a new index of the same profile better than the profile's defaults.
    try:
        params = live.search_params if profile == live.profile else vectors.search_params(profile)
    except ConfigurationError as error:
        raise InvalidInput(str(error)) from None
    fingerprint, cosine = await encoder.fingerprint(version), await encoder.duplicate_cosine(version)
    release = new_release(version, fingerprint, profile, params, name or "", cosine)
    if not release.fingerprint:
        raise InvalidInput(f"Model version {version} has no card in the model repository; publish it first.")
    for one in records:
        if one.release.name == release.name and one.state != ReleaseState.BUILDING:
            raise Conflict(f"Release {release.name} is {one.state} already; choose another name.")
    return release
