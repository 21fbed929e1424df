"""Builds a release's collection from the stored objects, while search and indexing continue.

Once the release is recorded, indexers write new, changed and deleted images to it too. The build therefore only copies
images that were indexed before. It records its progress and resumes there after a kill.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

import stamina

from visualsearch.domain.errors import NotFound, Overloaded, Unavailable, VisualSearchError
from visualsearch.domain.releases import Build, Release
from visualsearch.releases.active_releases import CACHE_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from indexer.maintenance.reconcile import Reconcile, ReconciliationReport
    from indexer.pipeline.ingest import Ingest
    from visualsearch.domain.images import Image
    from visualsearch.ports import ImageRepository, ReleaseRepository, Vectors

PAGE = 64
IN_FLIGHT = 2
"""Pages in flight: the next is decoded while this one is embedded and written."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 10.0
PATIENCE_S = 600.0
"""How long an unavailable server is retried before the build ends. It can be resumed."""
ROUNDS = 5
"""Number of rounds that look for missing images, before giving up on a release that stays incomplete."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Rebuild:
    """One build. ``reconcile`` creates the repairing comparison that completes it."""

    def __init__(
        self,
        image_repository: ImageRepository,
        release_repository: ReleaseRepository,
        vectors: Vectors,
        ingest: Ingest,
        reconcile: Callable[[], Reconcile],
        on_progress: Callable[[Build], None],
    ) -> None:
        self._image_repository = image_repository
        self._release_repository = release_repository
        self._vectors = vectors
        self._ingest = ingest
        self._reconcile = reconcile
        self._on_progress = on_progress

    async def run(self, release: Release, *, heard_after_s: float = 2 * CACHE_S) -> ReconciliationReport:
        """Fill the collection of a release that is being built, or resume; it is complete when this returns.

        Raises ``Unavailable`` if a server stays away, or if images are still missing after several rounds.
        """
        await self._patiently(lambda: self._vectors.create(release.collection, release.profile))
        await asyncio.sleep(heard_after_s)  # until every indexer knows the release
        await self._walk(release)
        report = await self._complete(release)
        await self._patiently(lambda: self._vectors.seal(release.collection))
        return report

    async def _walk(self, release: Release) -> None:
        """Copy the images that were indexed before, page by page in the order of ids."""
        builds = await self._release_repository.builds()
        build = next(build for build in builds if build.release == release.name)
        total = sum((await self._image_repository.counts()).values())
        while pages := await self._pages(build.up_to):
            await asyncio.gather(*(self._write(page, release) for page in pages))
            done = build.done + sum(map(len, pages))
            build = Build(release.name, pages[-1][-1].id, done, max(done, total))
            await self._patiently(lambda build=build: self._release_repository.record_build(build))  # type: ignore[misc]
            self._on_progress(build)

    async def _pages(self, after: int) -> list[list[Image]]:
        images = await self._patiently(lambda: self._image_repository.after_id(after, PAGE * IN_FLIGHT))
        return [images[begin : begin + PAGE] for begin in range(0, len(images), PAGE)]

    async def _write(self, page: Sequence[Image], release: Release) -> None:
        await self._patiently(lambda: self._ingest.rewrite(page, release))

    async def _complete(self, release: Release) -> ReconciliationReport:
        """Compare the collection with the image repository and write missing images, until they agree."""
        for _ in range(ROUNDS):
            report = await self._patiently(lambda: self._reconcile().collection(release))
            if report.agrees:
                return report
        raise Unavailable(
            f"Release {release.name}", f"it still lacks images after {ROUNDS} rounds: {dict(report.counts)}"
        )

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run idempotent work; while a server is unavailable, retry with growing pauses."""
        patient = stamina.AsyncRetryingCaller(
            attempts=None,
            timeout=PATIENCE_S,
            wait_initial=FIRST_PAUSE_S,
            wait_max=MAX_PAUSE_S,
            wait_jitter=FIRST_PAUSE_S,
        )

        async def logged() -> T:
            try:
                return await work()
            except VisualSearchError as error:
                log.warning("the build waits for a server: %s", error)
                raise

        result: T = await patient((Unavailable, Overloaded, NotFound), logged)
        return result
