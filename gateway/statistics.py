"""Counts of the whole system, behind /stats and /metrics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gateway.search.shadow_search import ShadowSimilarity, shadow_similarity
from visualsearch.domain.errors import VisualSearchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from gateway.interactions.interaction_recorder import InteractionRecorder
    from visualsearch.domain.images import Status
    from visualsearch.domain.indexing import StreamState
    from visualsearch.domain.recall import Recall
    from visualsearch.domain.release_state import Releases
    from visualsearch.domain.releases import Build, Release
    from visualsearch.ports import (
        EventStream,
        ImageRepository,
        IndexingProgress,
        RecallRepository,
        ReleaseCounters,
        ReleaseRepository,
        Vectors,
    )
    from visualsearch.releases.active_releases import ActiveReleases
    from visualsearch.releases.canary_monitor import CanaryMonitor, CanaryProgress

PART_S = 1.5
"""Timeout of each part, in seconds."""
COUNT_S = 1.0
"""Timeout of counting one collection; below ``PART_S``, so that the other counts are returned if one hangs."""
RECALL_WINDOW_S = 600.0
"""Window of the recall, in seconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts of the system at one moment. A part that could not be counted is None, and ``errors`` has the reason."""

    images: Mapping[Status, int] | None
    stream: StreamState | None
    collections: Mapping[str, int | None] | None
    """Rows by collection; None for one that is being created or dropped."""
    live: Release | None
    releases: Releases | None
    canary: CanaryProgress | None
    shadow: ShadowSimilarity | None
    builds: Sequence[Build] | None
    differences: Mapping[tuple[str, str], int] | None
    """What the last reconciliation found, by release (empty for the object store) and kind."""
    interactions_waiting: int | None
    recall: Mapping[str, Recall] | None
    """Recall of the sampled queries of the last ten minutes, by release."""
    errors: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsCollector:
    """Asks every store at the same time; none can hold the others up."""

    image_repository: ImageRepository
    indexing_progress: IndexingProgress
    events: EventStream
    vectors: Vectors
    releases: ActiveReleases
    release_repository: ReleaseRepository
    canary_monitor: CanaryMonitor
    counts: ReleaseCounters
    interaction_recorder: InteractionRecorder
    recall_repository: RecallRepository | None

    async def collect(self) -> Statistics:
        """Count everything now; takes ``PART_S`` seconds at most."""
        errors: list[str] = []

        async def part(counting: Awaitable[T], within_s: float = PART_S, prefix: str = "") -> T | None:
            try:
                async with asyncio.timeout(within_s):
                    return await counting
            except TimeoutError:
                errors.append(f"{prefix}no answer within {within_s} s")
            except VisualSearchError as error:
                errors.append(f"{prefix}{error}")
            return None

        async def collections() -> dict[str, int | None]:
            names = await self.vectors.collections()
            counts = await asyncio.gather(*(part(self.vectors.count(name), COUNT_S, f"{name}: ") for name in names))
            return dict(zip(names, counts, strict=True))

        async with asyncio.TaskGroup() as group:
            images = group.create_task(part(self.image_repository.counts()))
            stream = group.create_task(part(self.events.state()))
            rows = group.create_task(part(collections()))
            live = group.create_task(part(self.releases.live()))
            releases = group.create_task(part(self.release_repository.records()))
            canary = group.create_task(part(self.canary_monitor.progress()))
            shadow = group.create_task(part(shadow_similarity(self.release_repository, self.counts)))
            builds = group.create_task(part(self.release_repository.builds()))
            differences = group.create_task(part(self.indexing_progress.differences()))
            waiting = group.create_task(part(self.interaction_recorder.waiting()))
            recall = group.create_task(part(self._recall()))
        return Statistics(
            images=images.result(),
            stream=stream.result(),
            collections=rows.result(),
            live=live.result(),
            releases=releases.result(),
            canary=canary.result(),
            shadow=shadow.result(),
            builds=builds.result(),
            differences=differences.result(),
            interactions_waiting=waiting.result(),
            recall=recall.result(),
            errors=errors,
        )

    async def _recall(self) -> Mapping[str, Recall]:
        return await self.recall_repository.since(RECALL_WINDOW_S) if self.recall_repository is not None else {}
