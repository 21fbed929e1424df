"""Work that a process repeats until it is stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.backoff import wait_for_stop
from visualsearch.domain.errors import VisualSearchError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from visualsearch.ports import EventStream

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do something that only one of all processes should do at a time."""

    events: EventStream
    name: str
    holder: str
    """A name of this process."""
    seconds: float
    """How long the lease lasts after it was last taken; then another process may take it."""

    async def taken(self) -> bool:
        """Take or extend the lease; return whether this process holds it. Raises ``Unavailable``."""
        return await self.events.lease(self.name, self.holder, self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicJob:
    """Calls ``work`` at once and then ``every_s`` seconds after each end.

    An error ends only this turn: an expected one is a warning in the log, any other is logged with its stack trace.
    """

    name: str
    work: Callable[[], Awaitable[object]]
    every_s: float
    retry_s: float | None = None
    """Pause after an error, and while another process holds the lease; ``every_s`` by default."""
    lease: Lease | None = None
    """If given, a turn is skipped while another process holds this."""

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat until ``stop`` is set; a turn that has begun is completed."""
        while not stop.is_set():
            worked = await self._turn()
            await wait_for_stop(stop, self.every_s if worked or self.retry_s is None else self.retry_s)

    async def _turn(self) -> bool:
        try:
            if self.lease is not None and not await self.lease.taken():
                return False
            await self.work()
        except VisualSearchError as error:
            log.warning("%s is postponed: %s", self.name, error)
            return False
        except Exception:
            log.exception("%s failed", self.name)
            return False
        return True
