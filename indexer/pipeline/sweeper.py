"""Recovers registered images whose events were lost, and finishes incomplete deletions."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from visualsearch.domain.indexing import Event, EventKind
from visualsearch.periodic_job import PeriodicJob

if TYPE_CHECKING:
    from visualsearch.image_deletion import ImageDeletion
    from visualsearch.ports import EventStream, ImageRepository
    from visualsearch.releases.active_releases import ActiveReleases

log = logging.getLogger(__name__)

EVERY_S = 5.0
LIMIT = 500
PATIENCE_S = 600.0
"""Longest backlog of the stream for which late images are assumed to be still queued."""


class Sweeper:
    """Sweeps every few seconds; any number may run in parallel."""

    def __init__(
        self,
        events: EventStream,
        image_repository: ImageRepository,
        deletion: ImageDeletion,
        releases: ActiveReleases,
        sweep_after_s: float,
    ) -> None:
        self._events = events
        self._image_repository = image_repository
        self._deletion = deletion
        self._releases = releases
        self._sweep_after_s = sweep_after_s

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until stopped."""
        await PeriodicJob(name="the sweep", work=self.sweep, every_s=EVERY_S).run(stop)

    async def sweep(self) -> None:
        """Publish late registered images again, finish deletions, and trim the stream."""
        # Images registered after the oldest waiting event was added are probably still in the stream.
        behind_s = (await self._events.state()).oldest_pending_s
        late = await self._image_repository.waiting(self._sweep_after_s + min(behind_s, PATIENCE_S), LIMIT)
        if late:
            log.info("%d images have been pending for %.0f s and are published again", len(late), self._sweep_after_s)
            await self._events.publish([Event(EventKind.CREATED, image.uri, image.id) for image in late])
        for image_id, uri in await self._image_repository.unfinished_deletions(self._sweep_after_s, LIMIT):
            collections = [release.collection for release in await self._releases.written()]
            await self._deletion.finish(image_id, uri, collections)
        await self._events.trim()
