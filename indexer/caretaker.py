"""Does what was asked of releases in the background, and brings into line what follows from where they stand.

Of any number of indexers the holder of a lease does it. A job that is cut off is begun again by the next holder.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from indexer.building import build
from visualsearch.errors import Unavailable, VisualSearchError
from visualsearch.followers import follow
from visualsearch.lifecycle import Lifecycle
from visualsearch.standing import Job

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from indexer.gate import Gate
    from visualsearch.standing import Standing
    from visualsearch.wiring import Stores

LEASE = "releases"
LEASE_S = 15.0
TURN_S = 3.0
log = logging.getLogger(__name__)


class Caretaker:
    """One indexer's caretaker; ``name`` is the process' own."""

    def __init__(self, name: str, stores: Stores, gate: Gate, pool: Executor) -> None:
        self._name = name
        self._stores = stores
        self._gate = gate
        self._pool = pool

    async def run(self, stop: asyncio.Event) -> None:
        """Take turns until told to stop; a job in hand is left, to be taken up by the next holder."""
        while not stop.is_set():
            work = asyncio.create_task(self._turn())
            stopping = asyncio.create_task(stop.wait())
            while not work.done() and not stop.is_set():
                await asyncio.wait({work, stopping}, timeout=LEASE_S / 3, return_when=asyncio.FIRST_COMPLETED)
                await self._hold()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await asyncio.wait({stopping}, timeout=TURN_S)
            stopping.cancel()

    async def _hold(self) -> bool:
        try:
            return await self._stores.events.lease(LEASE, self._name, LEASE_S)
        except Unavailable:
            return False

    async def _turn(self) -> None:
        try:
            if not await self._hold():
                return
            standings = await self._stores.release_log.standings()
            for sentence in await follow(standings, self._stores.vectors, self._stores.models):
                log.info("%s", sentence)
            for one in standings:
                await self._do(one)
        except VisualSearchError as error:
            log.warning("releases: %s", error)
        except Exception:
            log.exception("releases: an unexpected error")

    async def _do(self, one: Standing) -> None:
        """Do the job of a release; what cannot be done now is tried again at the next turn."""
        lifecycle = Lifecycle(self._stores.release_log, self._name)
        if one.job in {Job.BUILD, Job.RESUME}:
            await build(self._stores, one.release, lifecycle, self._pool, lambda _: None, Job.RESUME)
        if one.job is not Job.NONE:
            await self._gate.evaluate(one.release, lifecycle)
