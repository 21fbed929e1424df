"""Reads deliveries, has them ingested, and settles each: acknowledged, buried, or left for another try."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import Status
from visualsearch.domain.indexing import DeadLetter, Delivery, Outcome, Rejected, Retry
from visualsearch.observability import tracing
from visualsearch.observability.metrics import INDEX_BATCH_EVENTS, INDEX_EVENTS, index_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from indexer.pipeline.ingest import Ingest
    from visualsearch.domain.releases import Release
    from visualsearch.ports import Catalog, EventStream
    from visualsearch.releases.active_releases import Releases

log = logging.getLogger(__name__)

BLOCK_S = 1.0
BEAT_EVERY_S = 1.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.2, 5.0
HAND_BACK_S = 2.0
IN_FLIGHT = 6
"""Batches at a time: while one waits to become searchable, others are fetched, decoded, embedded."""
ALONE_AFTER = 2
"""An entry that was delivered more often than this is worked on alone, so that a killer takes no other along."""


class Worker:
    """One member of the consumer group."""

    def __init__(
        self,
        name: str,
        events: EventStream,
        catalog: Catalog,
        releases: Releases,
        ingest: Ingest,
        *,
        batch: int,
        stale_after_s: float,
        max_deliveries: int,
        beat: Callable[[], None],
    ) -> None:
        self._name = name
        self._events = events
        self._catalog = catalog
        self._releases = releases
        self._ingest = ingest
        self._batch = batch
        self._stale_after_s = stale_after_s
        self._max_deliveries = max_deliveries
        self._beat = beat
        self._held: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; the batches in hand are finished first, or handed back when this is cancelled."""
        heart = asyncio.create_task(self._keep_beating())
        working: set[asyncio.Task[bool]] = set()
        try:
            await self._work(stop, working)
            await asyncio.gather(*working)
        finally:
            for task in (heart, *working):
                task.cancel()
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(HAND_BACK_S):
                    await self._events.release(self._name, sorted(self._held))

    async def _work(self, stop: asyncio.Event, working: set[asyncio.Task[bool]]) -> None:
        pause = FIRST_PAUSE_S
        while not stop.is_set():
            if len(working) >= IN_FLIGHT:
                await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED, timeout=BLOCK_S)
            done = {task for task in working if task.done()}
            working -= done
            if any(not task.result() for task in done):
                pause = await self._rest(pause, stop)
            elif done:
                pause = FIRST_PAUSE_S
            if len(working) < IN_FLIGHT:
                deliveries = await self._read()
                if deliveries is None:
                    pause = await self._rest(pause, stop)
                elif deliveries:
                    working.add(asyncio.create_task(self._handle(deliveries)))

    async def _keep_beating(self) -> None:
        """Show that the loop lives, also while it waits for a server."""
        while True:
            self._beat()
            await asyncio.sleep(BEAT_EVERY_S)

    async def _read(self) -> list[Delivery] | None:
        """Read the next deliveries; None while the stream is away.

        What is still in our own hands comes again when it takes long: it is no less in good hands than before.
        """
        try:
            deliveries = await self._events.read(self._name, self._batch, BLOCK_S, self._stale_after_s)
            return [delivery for delivery in deliveries if delivery.entry_id not in self._held]
        except Unavailable as error:
            log.warning("no events: %s", error)
            return None

    async def _rest(self, pause: float, stop: asyncio.Event) -> float:
        """Wait while a server is away, each time longer, with jitter so that indexers do not come back as one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        return min(pause * 2, MAX_PAUSE_S)

    async def _handle(self, deliveries: list[Delivery]) -> bool:
        """Ingest and settle what was read; False if any of it failed for want of a server."""
        self._held |= {delivery.entry_id for delivery in deliveries}
        alone = [[delivery] for delivery in deliveries if delivery.deliveries > ALONE_AFTER]
        together = [delivery for delivery in deliveries if delivery.deliveries <= ALONE_AFTER]
        fine = True
        for batch in ([together] if together else []) + alone:
            fine &= await self._handle_batch(batch)
            self._held -= {delivery.entry_id for delivery in batch}
        return fine

    async def _handle_batch(self, deliveries: list[Delivery]) -> bool:
        with tracing.consumed("index", [delivery.event.traceparent for delivery in deliveries]):
            return await self._do_batch(deliveries)

    async def _do_batch(self, deliveries: list[Delivery]) -> bool:
        again = [delivery.entry_id for delivery in deliveries if delivery.deliveries > 1]
        try:
            deliveries = await self._without_killers(deliveries, again)
            releases = await self._releases.written()
            INDEX_BATCH_EVENTS.observe(len(deliveries))
            with index_stage("total"):
                outcomes = await self._ingest.batch([delivery.event for delivery in deliveries], releases)
            await self._settle(deliveries, outcomes, releases)
        except Unavailable as error:
            log.warning("%d events are left pending: %s", len(deliveries), error)
            return False
        finally:
            # Whatever came of it, the process has outlived it.
            with contextlib.suppress(Unavailable):
                await self._events.end_attempt(again)
        return not any(isinstance(outcome, Retry) for outcome in outcomes)

    async def _without_killers(self, deliveries: list[Delivery], again: list[str]) -> list[Delivery]:
        """Bury those at whose handling this process, or another, has ended too often; return the others."""
        if not again:
            return deliveries
        begun = await self._events.begin_attempt(again)
        killers = [one for one in deliveries if begun.get(one.entry_id, 0) >= self._max_deliveries - 1]
        for delivery in killers:
            await self._bury(delivery, f"The indexer ended each of {self._max_deliveries} times that it tried this.")
        return [delivery for delivery in deliveries if delivery not in killers]

    async def _settle(self, deliveries: list[Delivery], outcomes: list[Outcome], releases: Sequence[Release]) -> None:
        done: list[str] = []
        for delivery, first in zip(deliveries, outcomes, strict=True):
            outcome = first
            if isinstance(first, Retry) and delivery.deliveries >= self._max_deliveries:
                outcome = await self._last_try(delivery, first, releases)
            INDEX_EVENTS.labels(type(outcome).__name__.lower()).inc()
            if isinstance(outcome, Retry):
                log.warning("%s is left pending: %s", delivery.event.uri, outcome.reason)
            elif isinstance(outcome, Rejected) and outcome.image_id is None:
                await self._bury(delivery, outcome.reason)  # no row can tell the reason
            else:
                done.append(delivery.entry_id)
        await self._events.acknowledge(done)

    async def _last_try(self, delivery: Delivery, first: Retry, releases: Sequence[Release]) -> Outcome:
        """Try an event once more, and reject it if it fails though every server works before and after.

        While a server is away every event fails, however often, and none of them is to blame.
        """
        if not await self._ingest.healthy(releases):
            return first
        (outcome,) = await self._ingest.batch([delivery.event], releases)
        if isinstance(outcome, Retry) and await self._ingest.healthy(releases):
            return Rejected(outcome.reason)
        return outcome

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        """Give an event up, visibly: in the catalog first, for the stream forgets it with the last step."""
        letter = DeadLetter(delivery.entry_id, delivery.event, reason, delivery.deliveries, datetime.now(UTC))
        await self._catalog.dead_letter(letter)
        image = await self._catalog.by_uri(delivery.event.uri)
        if image is not None and image.status is Status.PENDING:
            await self._catalog.mark_rejected(image.id, f"Given up on: {reason}")
        await self._events.dead_letter(delivery, reason)
        INDEX_EVENTS.labels("dead").inc()
