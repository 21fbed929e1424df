"""Monitors the canary. Every process flushes its counts, and the process that holds the lease judges them.

A breach rolls the canary back at once. A step that lasted long enough without a breach is followed by the next.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Conflict
from visualsearch.domain.recall import Recall
from visualsearch.periodic_job import PeriodicJob
from visualsearch.releases.canary import ReleaseStats, breaches
from visualsearch.releases.lifecycle import Lifecycle
from visualsearch.releases.release_router import ERRORS, REQUESTS, SLOT

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from visualsearch.domain.release_state import Canary
    from visualsearch.ports import EventStream, RecallRepository, ReleaseCounters, ReleaseRepository
    from visualsearch.releases.release_router import ReleaseRouter

log = logging.getLogger(__name__)

TURN_S = 1.0
LEASE, LEASE_S = "canary", 6.0
SHORT_S, LONG_S = 60.0, 3600.0
"""Both windows are judged: the short one detects sudden failures, the long one needs many requests."""
CLICKS_S = 10.0
"""Shortest interval between two queries for clicks."""
ACTOR = "canary monitor"


@dataclass(frozen=True, slots=True)
class CanaryProgress:
    """A canary, its schedule, and what was counted of it and of the live release since it began."""

    release: str
    canary: Canary
    seen: Mapping[str, ReleaseStats]


class CanaryMonitor:
    """The canary monitor of one process."""

    def __init__(
        self,
        release_router: ReleaseRouter,
        counts: ReleaseCounters,
        release_repository: ReleaseRepository,
        recall_repository: RecallRepository,
        events: EventStream,
    ) -> None:
        self._release_router = release_router
        self._counts = counts
        self._log = release_repository
        self._recall_repository = recall_repository
        self._events = events
        self._name = uuid.uuid4().hex
        self._clicked: dict[float, tuple[float, dict[str, tuple[int, int]]]] = {}
        self._judged_since: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Flush and judge until stopped."""
        await PeriodicJob(name="judging the canary", work=self._turn, every_s=TURN_S).run(stop)

    async def _turn(self) -> None:
        await self.flush()
        if await self._events.lease(LEASE, self._name, LEASE_S):
            await self.judge()

    async def flush(self) -> None:
        """Add this process' counts to the shared ones."""
        await self._release_router.flush()

    async def judge(self) -> None:
        """Judge the canary, if there is one: roll it back, advance it to the next step, or leave it."""
        records = await self._log.records()
        one, live = records.canary, records.live
        if one is None or one.canary is None or live is None:
            return
        if self._judged_since != one.since:  # a new canary; discard the last one's clicks
            self._judged_since = one.since
            self._clicked.clear()
        name, lifecycle = one.release.name, Lifecycle(self._log, ACTOR)
        age_s = (datetime.now(UTC) - one.since).total_seconds()
        for window_s in (min(SHORT_S, age_s), min(LONG_S, age_s)):
            seen = await self.seen(window_s)
            found = breaches(
                seen.get(live.release.name, ReleaseStats()), seen.get(name, ReleaseStats()), one.canary.min_requests
            )
            if found:
                reason = "; ".join(found)
                try:
                    await lifecycle.roll_back(reason, canary=name)
                    log.error("canary %s was rolled back: %s", name, reason)
                except Conflict:
                    log.info("canary %s was already ended by another process or an operator", name)
                return
        await self._ramp(name, one.canary, lifecycle)

    async def _ramp(self, name: str, canary: Canary, lifecycle: Lifecycle) -> None:
        age_s = (datetime.now(UTC) - canary.since).total_seconds()
        if canary.step + 1 == len(canary.steps) or age_s < canary.step_s:
            return
        if (await self.seen(age_s)).get(name, ReleaseStats()).requests >= canary.min_requests:
            await lifecycle.step(name, canary.step + 1)
            log.info("canary %s moves to its next step", name)

    async def seen(self, window_s: float) -> dict[str, ReleaseStats]:
        """Return the statistics of each release over the last ``window_s`` seconds."""
        counts, recalls, clicks = await asyncio.gather(
            self._counts.since(window_s), self._recall_repository.since(window_s), self._clicks(window_s)
        )
        return {
            name: _release_stats(counts.get(name), recalls.get(name, Recall()), clicks.get(name, (0, 0)))
            for name in counts.keys() | recalls.keys() | clicks.keys()
        }

    async def _clicks(self, window_s: float) -> dict[str, tuple[int, int]]:
        """Return clicks from a cache, because they cost Postgres more than the other counts."""
        length = SHORT_S if window_s <= SHORT_S else LONG_S
        until, known = self._clicked.get(length, (0.0, {}))
        if time.monotonic() >= until:
            known = await self._log.clicks(window_s)
            self._clicked[length] = (time.monotonic() + CLICKS_S, known)
        return known

    async def progress(self) -> CanaryProgress | None:
        """Return how far the canary is; None if there is no canary."""
        one = (await self._log.records()).canary
        if one is None or one.canary is None:
            return None
        seen = await self.seen(min(LONG_S, (datetime.now(UTC) - one.since).total_seconds()))
        return CanaryProgress(one.release.name, one.canary, seen)


def _release_stats(counters: Counter[str] | None, recall: Recall, clicks: tuple[int, int]) -> ReleaseStats:
    counted: Mapping[str, int] = counters or {}
    slots = {int(name.removeprefix(SLOT)): number for name, number in counted.items() if name.startswith(SLOT)}
    return ReleaseStats(counted.get(REQUESTS, 0), counted.get(ERRORS, 0), slots, recall, *clicks)
