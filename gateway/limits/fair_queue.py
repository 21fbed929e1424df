"""The order in which the work of several callers is done."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.limits.adaptive_limit import AdaptiveLimit
from gateway.limits.shared_table import SharedTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SLOWED = 1.5
"""Work of several callers may take so many times what it takes alone, before less of it is done at once."""
FORGET_S = 600.0
"""After so long with one piece of work at once, the time that it takes alone is learnt anew: servers may get slower."""
ALONE = "alone"
KEPT = 1_000
"""Callers whose last turns are remembered, before those that have no claim are dropped."""


class FairQueue:
    """Lets callers take turns, by start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).

    Each request begins, in virtual time, when its caller's last one ended there, but never in the past. The request
    that begins first is served first. So callers that wait are served in turn, whatever number of requests each of
    them has, and in proportion to the cost; who comes seldom is served before those who come all the time.

    While several callers are active, only so much is done at once that nothing takes much longer than alone:
    a newcomer waits for what is being done, and shares the machine with it. While one caller is alone, up to ``most``
    are done at once. A caller that has nothing in progress and took no more than its part lately need not wait: it
    is served beside the others. ``alone`` is where processes share how long work takes alone.
    """

    def __init__(
        self,
        most: int,
        contended: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        alone: SharedTable | None = None,
    ) -> None:
        self._most = most
        self._contended = contended
        self._clock = clock
        self._together = AdaptiveLimit(1, 1, most, clock)
        self._waiting: list[tuple[float, int, str, asyncio.Future[None]]] = []
        self._number = 0
        self._virtual_time = 0.0
        self._ends: dict[str, float] = {}
        self._working: Counter[str] = Counter()
        self._alone = alone or SharedTable(1)
        self._crowded_at = clock()

    @property
    def working(self) -> int:
        """Number of requests whose turn it is."""
        return self._working.total()

    @property
    def width(self) -> int:
        """How many may work at once."""
        return int(self._together.limit) if self._contended() else self._most

    @asynccontextmanager
    async def turn(self, caller: str, cost: float, *, local: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and hold it while the block runs.

        ``local`` work runs in this process alone, and says nothing of the servers behind it.
        """
        begins = max(self._virtual_time, self._ends.get(caller, 0.0))
        self._ends[caller] = begins + cost
        if self.working < self.width or self._is_newcomer(caller, begins):
            self._begin(caller, begins)
        else:
            self._together.reached()
            await self._wait(caller, begins)
        begun = self._clock()
        try:
            yield
            if not local:
                self._learn((self._clock() - begun) / cost)
        finally:
            self._working[caller] -= 1
            self._call_next()

    def charge(self, caller: str, cost: float) -> None:
        """Count work that was not foreseen, so that the caller's next request begins later in virtual time."""
        self._ends[caller] = max(self._virtual_time, self._ends.get(caller, 0.0)) + cost

    def _is_newcomer(self, caller: str, begins: float) -> bool:
        return not self._working[caller] and begins <= self._virtual_time and self.working < self._most

    def _begin(self, caller: str, begins: float) -> None:
        self._working[caller] += 1
        self._virtual_time = max(self._virtual_time, begins)
        if len(self._ends) > KEPT:
            self._ends = {one: end for one, end in self._ends.items() if end > self._virtual_time}
            self._working += Counter()  # drops zeros

    async def _wait(self, caller: str, begins: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._waiting, (begins, self._number, caller, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was called, and leaves
                self._working[caller] -= 1
                self._call_next()
            raise

    def _call_next(self) -> None:
        while self._waiting and self.working < self.width:
            begins, _, caller, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._begin(caller, begins)
                turn.set_result(None)

    def _learn(self, seconds: float) -> None:
        """Learn from the seconds that work took for each unit of its cost."""
        now = self._clock()
        if self._together.limit > 1:
            self._crowded_at = now
        alone_s = self._alone.get(ALONE)
        if not alone_s or seconds < alone_s or now - self._crowded_at > FORGET_S:
            alone_s, self._crowded_at = seconds, now
            self._alone.set(ALONE, seconds)
        self._together.learn(seconds, SLOWED * alone_s)
