"""Runs the background jobs of releases, and reconciles the servers with the releases' states.

Of all indexers, the one that holds the lease does this. The next holder restarts an interrupted job.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from indexer.releases.release_build import build
from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.release_state import Job
from visualsearch.periodic_job import PeriodicJob
from visualsearch.releases.lifecycle import Lifecycle
from visualsearch.releases.release_reconciler import follow

if TYPE_CHECKING:
    from indexer.releases.release_gate import Gate
    from visualsearch.composition import Stores
    from visualsearch.domain.release_state import ReleaseRecord
    from visualsearch.imaging.picture_pool import PicturePool

LEASE = "releases"
LEASE_S = 15.0
TURN_S = 3.0
log = logging.getLogger(__name__)


class ReleaseController:
    """The release controller of one indexer; ``name`` is the process' own."""

    def __init__(self, name: str, stores: Stores, gate: Gate, pool: PicturePool) -> None:
        self._name = name
        self._stores = stores
        self._gate = gate
        self._pool = pool
        self._job: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Run turns until stopped; a running job is cancelled, and the next holder of the lease resumes it."""
        await PeriodicJob(name="the control of releases", work=self._turn, every_s=TURN_S).run(stop)
        await self._drop_job()

    async def _turn(self) -> None:
        if not await self._stores.events.lease(LEASE, self._name, LEASE_S):
            await self._drop_job()
            return
        records = await self._stores.release_repository.records()
        if self._job is None or self._job.done():
            self._job = asyncio.create_task(self._do(records.asked)) if records.asked else None
        for sentence in await follow(records, self._stores.vectors, self._stores.models):
            log.info("%s", sentence)

    async def _do(self, one: ReleaseRecord) -> None:
        """Run the job of a release in parallel with the turns; a job that cannot run now is retried later."""
        lifecycle = Lifecycle(self._stores.release_repository, self._name)
        try:
            if one.job is not Job.EVALUATE:
                await build(self._stores, one.release, lifecycle, self._pool, lambda _: None, Job.RESUME)
            await self._gate.evaluate(one.release, lifecycle)
        except VisualSearchError as error:
            log.warning("release %s: %s", one.release.name, error)
        except Exception as error:
            log.exception("release %s: an unexpected error", one.release.name)
            await lifecycle.failed(one.release, f"unexpected: {error!r}")

    async def _drop_job(self) -> None:
        """Cancel the running job, so that another indexer can resume it."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
            self._job = None
