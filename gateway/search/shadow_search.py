"""Shadow traffic: repeats a share of the queries on a candidate release after the answer, and compares the rankings.

It is the first load to be shed. A process runs at most two such searches at once, and none while requests wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.ranking_metrics import overlap, rank_biased_overlap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import SearchAnswer
    from visualsearch.ports import ReleaseCounters, ReleaseRepository
    from visualsearch.releases.active_releases import ActiveReleases

    Ask = Callable[[Release], Awaitable[SearchAnswer]]

log = logging.getLogger(__name__)

IN_HAND = 2
PARTS = 1_000_000
"""Measures are summed in millionths, because the store adds integers only."""
PATIENCE_S = 10.0


class ShadowSearch:
    """The shadow traffic of one process. It drops queries while ``busy`` returns True."""

    def __init__(
        self, releases: ActiveReleases, counts: ReleaseCounters, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._releases = releases
        self._counts = counts
        self._busy = busy
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, answer: SearchAnswer, ask: Ask) -> None:
        """Repeat or skip a query that the live release answered; returns at once."""
        one = self._releases.shadow()
        if one is None or random.random() * 100 >= one.shadow:  # noqa: S311 - no secret
            return
        shed = len(self._tasks) >= IN_HAND or self._busy()
        work = self._count(one.release, {"shed": 1}) if shed else self._compare(one.release, answer, ask)
        task = asyncio.create_task(work)
        if not shed:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _compare(self, release: Release, answer: SearchAnswer, ask: Ask) -> None:
        live = [hit.id for hit in answer.results]
        try:
            async with asyncio.timeout(PATIENCE_S):
                other = [hit.id for hit in (await ask(release)).results]
        except (VisualSearchError, TimeoutError) as error:
            log.info("the shadow %s failed: %s", release.name, error)
            await self._count(release, {"errors": 1})
            return
        await self._count(
            release,
            {
                "queries": 1,
                "overlap": round(overlap(live, other) * PARTS),
                "rbo": round(rank_biased_overlap(live, other) * PARTS),
                "same_first": int(live[:1] == other[:1]),
            },
        )

    async def _count(self, release: Release, counters: dict[str, int]) -> None:
        try:
            await self._counts.add_total(series(release.name), counters)
        except VisualSearchError as error:
            log.info("shadow counters were not saved: %s", error)

    async def close(self) -> None:
        """Cancel the searches in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class ShadowSimilarity:
    """How similar a shadow's answers are to the live ones: means over ``queries``, None before the first.

    ``share`` is in percent of the queries.
    """

    release: str
    share: float
    queries: int
    errors: int
    shed: int
    overlap: float | None
    rbo: float | None
    same_first: float | None


async def shadow_similarity(log: ReleaseRepository, counts: ReleaseCounters) -> ShadowSimilarity | None:
    """Return how similar the shadow's answers are to the live ones; None without a shadow."""
    one = (await log.records()).shadow
    if one is None:
        return None
    sums = await counts.total(series(one.release.name))
    queries = sums["queries"]

    def mean(name: str, scale: int) -> float | None:
        return round(sums[name] / queries / scale, 4) if queries else None

    return ShadowSimilarity(
        one.release.name,
        one.shadow,
        queries,
        sums["errors"],
        sums["shed"],
        mean("overlap", PARTS),
        mean("rbo", PARTS),
        mean("same_first", 1),
    )


def series(release: str) -> str:
    """Return the name of the counters of a shadow."""
    return f"shadow:{release}"
