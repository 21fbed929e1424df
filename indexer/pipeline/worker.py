"""Reads deliveries, ingests them, and acknowledges each, moves it to the dead letters, or leaves it for a retry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.backoff import Backoff
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import Status
from visualsearch.domain.indexing import DeadLetter, Delivery, Outcome, Rejected, Retry
from visualsearch.observability import tracing
from visualsearch.observability.metrics import INDEX_BATCH_EVENTS, INDEX_EVENTS, index_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from indexer.pipeline.ingest import Ingest
    from visualsearch.domain.releases import Release
    from visualsearch.ports import DeadLetterArchive, EventStream, ImageRepository
    from visualsearch.releases.active_releases import ActiveReleases

log = logging.getLogger(__name__)

BLOCK_S = 1.0
BEAT_EVERY_S = 1.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.2, 5.0
HAND_BACK_S = 2.0
IN_FLIGHT = 6
"""Batches in flight: while one waits to become searchable, others are fetched, decoded and embedded."""
ALONE_AFTER = 2
"""An entry with more deliveries than this is processed alone, so that an entry that kills the process affects no
other."""


class Worker:
    """One member of the consumer group."""

    def __init__(
        self,
        name: str,
        events: EventStream,
        image_repository: ImageRepository,
        archive: DeadLetterArchive,
        releases: ActiveReleases,
        ingest: Ingest,
        *,
        batch: int,
        stale_after_s: float,
        max_deliveries: int,
        beat: Callable[[], None],
    ) -> None:
        self._name = name
        self._events = events
        self._image_repository = image_repository
        self._archive = archive
        self._releases = releases
        self._ingest = ingest
        self._batch = batch
        self._stale_after_s = stale_after_s
        self._max_deliveries = max_deliveries
        self._beat = beat
        self._held: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Process deliveries until stopped, then finish the current batches; if cancelled, release them instead."""
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
        backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while not stop.is_set():
            if len(working) >= IN_FLIGHT:
                await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED, timeout=BLOCK_S)
            done = {task for task in working if task.done()}
            working -= done
            if any(not task.result() for task in done):
                await backoff.pause(stop)
            elif done:
                backoff.reset()
            if len(working) < IN_FLIGHT:
                deliveries = await self._read()
                if deliveries is None:
                    await backoff.pause(stop)
                elif deliveries:
                    working.add(asyncio.create_task(self._handle(deliveries)))

    async def _keep_beating(self) -> None:
        """Update the heartbeat, also while the loop waits for a server."""
        while True:
            self._beat()
            await asyncio.sleep(BEAT_EVERY_S)

    async def _read(self) -> list[Delivery] | None:
        """Read the next deliveries; return None while the stream is unavailable.

        Skips entries that this worker already holds; the stream delivers them again if they take long.
        """
        try:
            deliveries = await self._events.read(self._name, self._batch, BLOCK_S, self._stale_after_s)
            return [delivery for delivery in deliveries if delivery.entry_id not in self._held]
        except Unavailable as error:
            log.warning("no events: %s", error)
            return None

    async def _handle(self, deliveries: list[Delivery]) -> bool:
        """Ingest deliveries and record their outcomes; return False if any failed because a server was unavailable."""
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
            deliveries = await self._dead_letter_poison_messages(deliveries, again)
            releases = await self._releases.written()
            INDEX_BATCH_EVENTS.observe(len(deliveries))
            with index_stage("total"):
                outcomes = await self._ingest.batch([delivery.event for delivery in deliveries], releases)
            await self._settle(deliveries, outcomes, releases)
        except Unavailable as error:
            log.warning("%d events are left pending: %s", len(deliveries), error)
            return False
        finally:
            # Whatever the outcome, the process survived the attempt.
            with contextlib.suppress(Unavailable):
                await self._events.end_attempt(again)
        return not any(isinstance(outcome, Retry) for outcome in outcomes)

    async def _dead_letter_poison_messages(self, deliveries: list[Delivery], again: list[str]) -> list[Delivery]:
        """Move entries whose attempts ended the process too often to the dead letters; return the others."""
        if not again:
            return deliveries
        begun = await self._events.begin_attempt(again)
        killers = [one for one in deliveries if begun.get(one.entry_id, 0) >= self._max_deliveries - 1]
        for delivery in killers:
            await self._dead_letter(
                delivery, f"The indexer ended each of {self._max_deliveries} times that it tried this."
            )
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
                await self._dead_letter(delivery, outcome.reason)  # no row can hold the reason
            else:
                done.append(delivery.entry_id)
        await self._events.acknowledge(done)

    async def _last_try(self, delivery: Delivery, first: Retry, releases: Sequence[Release]) -> Outcome:
        """Try an event once more; reject it if it fails although every server works before and after.

        While a server is unavailable every event fails, so its failures do not count against the event.
        """
        if not await self._ingest.healthy(releases):
            return first
        (outcome,) = await self._ingest.batch([delivery.event], releases)
        if isinstance(outcome, Retry) and await self._ingest.healthy(releases):
            return Rejected(outcome.reason)
        return outcome

    async def _dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Move an event to the dead letters: in Postgres first, because the last step removes it from the stream."""
        letter = DeadLetter(delivery.entry_id, delivery.event, reason, delivery.deliveries, datetime.now(UTC))
        await self._archive.dead_letter(letter)
        image = await self._image_repository.by_uri(delivery.event.uri)
        if image is not None and image.status is Status.PENDING:
            await self._image_repository.mark_rejected(image.id, f"Given up on: {reason}")
        await self._events.dead_letter(delivery, reason)
        INDEX_EVENTS.labels("dead").inc()
