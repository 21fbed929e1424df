"""Writes queued interactions to Postgres in batches, each interaction once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from visualsearch.backoff import Backoff
from visualsearch.domain.errors import InvalidInput, Unavailable
from visualsearch.observability.metrics import INTERACTIONS

if TYPE_CHECKING:
    from visualsearch.domain.interactions import QueuedInteraction
    from visualsearch.ports import InteractionQueue, InteractionRepository

log = logging.getLogger(__name__)

BATCH = 200
"""Entries of a batch; a search with 50 results becomes 50 rows."""
BLOCK_S = 1.0
STALE_AFTER_S = 10.0
"""Time after which another writer takes over the entries of a dead one."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.2, 2.0


class InteractionWriter:
    """One consumer of the interaction queue; any number may run in parallel."""

    def __init__(
        self, name: str, interaction_queue: InteractionQueue, interaction_repository: InteractionRepository
    ) -> None:
        self._name = name
        self._interaction_queue = interaction_queue
        self._interaction_repository = interaction_repository

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped; entries stay in the queue until they are written."""
        backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        mine: list[QueuedInteraction] = []
        while not stop.is_set():
            try:
                mine = mine or await self._interaction_queue.read(self._name, BATCH, BLOCK_S, STALE_AFTER_S)
                await self._write(mine)
                mine = []
                backoff.reset()
            except Unavailable as error:
                log.warning("%d interactions wait: %s", len(mine), error)
                await backoff.pause(stop)

    async def _write(self, entries: list[QueuedInteraction]) -> None:
        """Write entries, then remove them from the queue; after a crash in between, the second write has no effect."""
        for entry in entries:
            if entry.interaction is None:
                await self._dead_letter(entry, "it has no form that is known")
        known = [entry for entry in entries if entry.interaction is not None]
        try:
            written = await self._interaction_repository.write(
                [entry.interaction for entry in known if entry.interaction is not None]
            )
        except InvalidInput as error:
            if len(known) > 1:  # one entry makes the batch fail
                for entry in known:
                    await self._write([entry])
                return
            await self._dead_letter(known[0], str(error))
            return
        INTERACTIONS.labels("entry", "written").inc(written.new - written.unfounded)
        INTERACTIONS.labels("click", "unfounded").inc(written.unfounded)
        if written.unfounded:
            log.warning("%d clicks were dropped: their search or image does not exist", written.unfounded)
        await self._interaction_queue.done([entry.entry_id for entry in known])

    async def _dead_letter(self, entry: QueuedInteraction, reason: str) -> None:
        INTERACTIONS.labels("entry", "dead_lettered").inc()
        log.error("an interaction cannot be written and goes to the dead letters: %s", reason)
        await self._interaction_queue.dead_letter(entry, reason)
