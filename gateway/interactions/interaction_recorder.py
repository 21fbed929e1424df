"""Queues searches and clicks outside the request path. Depends on no framework and no server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from visualsearch.backoff import wait_for_stop
from visualsearch.domain.errors import Overloaded, Unavailable
from visualsearch.observability.metrics import INTERACTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.interactions import Click, Interaction, Search
    from visualsearch.ports import InteractionQueue

log = logging.getLogger(__name__)

MAX_HELD = 10_000
"""Maximum number of searches (about 1 kB each) held while the queue is down. More are dropped, counted and logged."""
AT_ONCE = 500
GATHER_S = 0.2
"""Searches are queued in batches of this duration, because Valkey and Postgres spend as much on one as on ten."""
PAUSE_S = 0.5
CLICK_S = 1.2
"""Timeout of queueing a click, behind the searches that wait. The caller must get a response within 2 s."""


class InteractionRecorder:
    """Queues interactions in the order in which they happened, so that a click follows its search."""

    def __init__(self, interaction_queue: InteractionQueue, max_held: int = MAX_HELD) -> None:
        self._interaction_queue = interaction_queue
        self._max_held = max_held
        self._held: deque[Search] = deque()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._lost = 0

    def searched(self, search: Search) -> None:
        """Record a search; returns at once."""
        if len(self._held) >= self._max_held:
            INTERACTIONS.labels("search", "lost").inc()
            self._lost += 1
            return
        self._held.append(search)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send_held())

    async def clicked(self, click: Click) -> None:
        """Record a click; it is in the queue when this returns.

        Raises ``Unavailable`` or ``Overloaded`` if it cannot be queued.
        """
        try:
            async with asyncio.timeout(CLICK_S):
                await self._send([click])
        except TimeoutError:
            raise Unavailable("The interaction queue", "no answer in time") from None

    async def waiting(self) -> int:
        """Return the number of queued interactions that are not written yet."""
        return await self._interaction_queue.length()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Queue the held searches. Those that cannot be queued in time are lost, which is counted and logged."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_s)
            self._task.cancel()
        if self._held:
            INTERACTIONS.labels("search", "lost").inc(len(self._held))
            log.error("%d searches are lost: the interaction queue was unavailable until shutdown", len(self._held))

    async def _send_held(self) -> None:
        troubled = False
        await wait_for_stop(self._closing, GATHER_S)
        while self._held:
            try:
                await self._send()
            except (Unavailable, Overloaded) as error:
                if not troubled:
                    log.warning(
                        "the interaction queue is unavailable; buffering up to %d searches: %s", self._max_held, error
                    )
                troubled = True
                await asyncio.sleep(PAUSE_S)
        if self._lost:
            log.error("%d searches are lost: the interaction queue is unavailable, the buffer is full", self._lost)
            self._lost = 0

    async def _send(self, clicks: Sequence[Click] = ()) -> None:
        """Queue a batch of the searches that are held, followed by the clicks."""
        async with self._sending:
            searches = [self._held[place] for place in range(min(AT_ONCE, len(self._held)))]
            interactions: list[Interaction] = [*searches, *clicks]
            if not interactions:
                return
            await self._interaction_queue.append(interactions)
            for _ in searches:
                self._held.popleft()
        INTERACTIONS.labels("search", "queued").inc(len(searches))
        INTERACTIONS.labels("click", "queued").inc(len(clicks))
