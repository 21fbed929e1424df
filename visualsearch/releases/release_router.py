"""Chooses the release that answers a search, and counts requests, errors and latencies by release."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.errors import FingerprintMismatch, NotFound, Unavailable, VisualSearchError
from visualsearch.releases.canary import slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visualsearch.domain.releases import Release
    from visualsearch.ports import ReleaseCounters
    from visualsearch.releases.active_releases import ActiveReleases

log = logging.getLogger(__name__)

REQUESTS, ERRORS, SLOT = "requests", "errors", "slot:"
RELEASE_FAILURES = (Unavailable, FingerprintMismatch, NotFound)
"""Failures of a release itself, for which another release may do better. An overloaded server is not among them: a
second try would only add to its load."""


@dataclass(frozen=True, slots=True)
class Route:
    """The release that answers a search.

    ``fallback`` is the live release, where ``release`` is a canary; it answers when the canary fails or takes longer
    than ``timeout_s`` seconds. None where ``release`` is itself the live one.
    """

    release: Release
    fallback: Release | None = None
    timeout_s: float | None = None


class ReleaseRouter:
    """Routes searches to releases. ``canary_s`` is how long a canary may take before the live release is asked."""

    def __init__(
        self,
        releases: ActiveReleases,
        counts: ReleaseCounters,
        canary_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._releases = releases
        self._counts = counts
        self._canary_s = canary_s
        self._clock = clock
        self._counted: dict[str, Counter[str]] = {}

    async def route(self, key: bytes) -> Route:
        """Return the route of a search; the same key gives the same release until the canary's share changes.

        Raises ``Unavailable`` when no live release is known.
        """
        release, live = await self._releases.for_request(key), await self._releases.live()
        if release.name == live.name:
            return Route(live)
        return Route(release, live, self._canary_s)

    async def live(self) -> Release:
        """Return the live release; raises ``Unavailable`` when none is known."""
        return await self._releases.live()

    @contextmanager
    def measured(self, release: Release) -> Iterator[None]:
        """Count the request inside the block, with its latency, or as an error if it raises."""
        counters = self._counted.setdefault(release.name, Counter())
        begin = self._clock()
        counters[REQUESTS] += 1
        try:
            yield
        except BaseException:
            counters[ERRORS] += 1
            raise
        counters[f"{SLOT}{slot((self._clock() - begin) * 1000)}"] += 1

    async def flush(self) -> None:
        """Add this process' counts to the shared ones; keep them for the next time if that fails."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            await self._counts.add(counted)
        except VisualSearchError as error:
            log.warning("release counters were not saved and are kept for the next flush: %s", error)
            for release, counters in counted.items():
                self._counted.setdefault(release, Counter()).update(counters)
