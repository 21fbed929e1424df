"""Adds colour layouts to images that were indexed before there were any."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.imaging.preprocessing import prepare
from visualsearch.periodic_job import Lease, PeriodicJob

if TYPE_CHECKING:
    from visualsearch.domain.images import Image
    from visualsearch.imaging.picture_pool import PicturePool
    from visualsearch.ports import EventStream, ImageRepository, ObjectStore

log = logging.getLogger(__name__)

PAGE = 64
EVERY_S = 2.0
"""32 images a second at most, so that indexing and searches do not notice: 100,000 take an hour."""
LEASE_S = 30.0


class ColourBackfill:
    """Looks at one page of images every few seconds; one of all indexers does it. Nothing is left after that."""

    def __init__(
        self,
        name: str,
        events: EventStream,
        image_repository: ImageRepository,
        object_store: ObjectStore,
        pool: PicturePool,
    ) -> None:
        self._name = name
        self._events = events
        self._image_repository = image_repository
        self._object_store = object_store
        self._pool = pool

    async def run(self, stop: asyncio.Event) -> None:
        """Look at page after page until stopped."""
        lease = Lease(self._events, "colour backfill", self._name, LEASE_S)
        await PeriodicJob(name="the colour backfill", work=self.fill, every_s=EVERY_S, lease=lease).run(stop)

    async def fill(self) -> int:
        """Add the layouts of one page of images, and return their number. Raises ``Unavailable``."""
        images = await self._image_repository.without_colours(PAGE)
        if images:
            layouts = await asyncio.gather(*map(self._layout, images))
            await self._image_repository.add_colours(
                {image.id: layout for image, layout in zip(images, layouts, strict=True)}
            )
        return len(images)

    async def _layout(self, image: Image) -> bytes:
        """Return the colour layout of an image; empty bytes if its object is missing or cannot be read."""
        try:
            stored = await self._object_store.fetch(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
            return (await self._pool.run(prepare, stored.data)).colours
        except (NotFound, InvalidInput) as error:
            log.warning("image %d stays without colours: %s", image.id, error)
            return b""
