"""Which release answers a search, what is counted of it, and what is done when a canary fails: live answers instead."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from visualsearch.domain.errors import FingerprintMismatch, NotFound, Unavailable, VisualSearchError
from visualsearch.releases.canary import slot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.search.shadow_search import ShadowSearch
    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import SearchAnswer
    from visualsearch.ports import ReleaseCounters
    from visualsearch.releases.active_releases import Releases

    Ask = Callable[[Release], Awaitable[SearchAnswer]]

log = logging.getLogger(__name__)

REQUESTS, ERRORS, SLOT = "requests", "errors", "slot:"
OURS = (Unavailable, FingerprintMismatch, NotFound)
"""Failures of what a release is made of, for which another may do better. Where there is too much work, a second try
would only be more of it; what is wrong with a caller's picture is found before a release is asked."""


class ReleaseRouter:
    """Hands searches to releases. ``canary_s`` is how long a canary may take before the live release is asked."""

    def __init__(
        self, releases: Releases, counts: ReleaseCounters, canary_s: float, shadow: ShadowSearch | None = None
    ) -> None:
        self._releases = releases
        self._counts = counts
        self._canary_s = canary_s
        self._shadow = shadow
        self._counted: dict[str, Counter[str]] = {}

    async def answered(self, key: bytes, ask: Ask) -> SearchAnswer:
        """Have a search answered whole by one release, the one that the key is given; raises what ``ask`` raises.

        A canary that fails or dawdles is counted, and the live release answers, so that nobody but the watch notices.
        """
        release, live = await self._releases.for_request(key), await self._releases.live()
        if release.name != live.name:
            try:
                async with asyncio.timeout(self._canary_s):
                    return await self._counting(release, ask)
            except (*OURS, TimeoutError) as error:
                log.warning("the canary %s failed, live answers: %s", release.name, error or "no answer in time")
        answer = await self._counting(live, ask)
        if self._shadow is not None and answer.release == live.name:
            self._shadow.offer(answer, ask)
        return answer

    async def _counting(self, release: Release, ask: Ask) -> SearchAnswer:
        counters = self._counted.setdefault(release.name, Counter())
        begin = time.perf_counter()
        counters[REQUESTS] += 1
        try:
            answer = await ask(release)
        except BaseException:
            counters[ERRORS] += 1
            raise
        counters[f"{SLOT}{slot((time.perf_counter() - begin) * 1000)}"] += 1
        return answer

    async def flush(self) -> None:
        """Add what this process has counted to what all have; kept for the next time while that fails."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            await self._counts.add(counted)
        except VisualSearchError as error:
            log.warning("counts of releases wait: %s", error)
            for release, counters in counted.items():
                self._counted.setdefault(release, Counter()).update(counters)
