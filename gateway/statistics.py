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
    from visualsearch.domain.images import Status, Usage
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
    """Counts of the system at one moment.

    A part that could not be counted is None, and ``errors`` has the reason. A part that was not asked for is None too.
    """

    images: Mapping[Status, int] | None = None
    stream: StreamState | None = None
    collections: Mapping[str, int | None] | None = None
    """Rows by collection; None for one that is being created or dropped."""
    live: Release | None = None
    releases: Releases | None = None
    canary: CanaryProgress | None = None
    shadow: ShadowSimilarity | None = None
    builds: Sequence[Build] | None = None
    differences: Mapping[tuple[str, str], int] | None = None
    """What the last reconciliation found, by release (empty for the object store) and kind."""
    interactions_waiting: int | None = None
    usage: Usage | None = None
    """What the owner who asks stores."""
    recall: Mapping[str, Recall] | None = None
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

    async def collect(self, owner: str = "") -> Statistics:
        """Count everything now, and what an owner stores; takes ``PART_S`` seconds at most."""
        errors: list[str] = []

        async def collections() -> dict[str, int | None]:
            names = await self.vectors.collections()
            counts = await asyncio.gather(
                *(_part(errors, self.vectors.count(name), COUNT_S, f"{name}: ") for name in names)
            )
            return dict(zip(names, counts, strict=True))

        async with asyncio.TaskGroup() as group:
            images = group.create_task(_part(errors, self.image_repository.counts()))
            stream = group.create_task(_part(errors, self.events.state()))
            rows = group.create_task(_part(errors, collections()))
            live = group.create_task(_part(errors, self.releases.live()))
            releases = group.create_task(_part(errors, self.release_repository.records()))
            canary = group.create_task(_part(errors, self.canary_monitor.progress()))
            shadow = group.create_task(_part(errors, shadow_similarity(self.release_repository, self.counts)))
            builds = group.create_task(_part(errors, self.release_repository.builds()))
            differences = group.create_task(_part(errors, self.indexing_progress.differences()))
            waiting = group.create_task(_part(errors, self.interaction_recorder.waiting()))
            recall = group.create_task(_part(errors, self._recall()))
            usage = group.create_task(_part(errors, self._usage(owner)))
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
            usage=usage.result(),
            errors=errors,
        )

    async def collect_visible_to(self, owner: str) -> Statistics:
        """Count the images that an owner may see and stores, and find the live release; other parts are None."""
        errors: list[str] = []
        async with asyncio.TaskGroup() as group:
            images = group.create_task(_part(errors, self.image_repository.counts(owner)))
            live = group.create_task(_part(errors, self.releases.live()))
            usage = group.create_task(_part(errors, self._usage(owner)))
        return Statistics(images=images.result(), live=live.result(), usage=usage.result(), errors=errors)

    async def _usage(self, owner: str) -> Usage | None:
        return await self.image_repository.usage(owner) if owner else None

    async def _recall(self) -> Mapping[str, Recall]:
        return await self.recall_repository.since(RECALL_WINDOW_S) if self.recall_repository is not None else {}


async def _part(errors: list[str], counting: Awaitable[T], within_s: float = PART_S, prefix: str = "") -> T | None:
    """Return what is counted; after a failure or ``within_s`` seconds None, with the reason in ``errors``."""
    try:
        async with asyncio.timeout(within_s):
            return await counting
    except TimeoutError:
        errors.append(f"{prefix}no answer within {within_s} s")
    except VisualSearchError as error:
        errors.append(f"{prefix}{error}")
    return None
