"""How much work each caller may cause while others call too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.limits.shared_table import SharedTable

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_S = 1.0
"""A caller may save up its work for so long, and ask for it at once."""
AT_ONCE_S = 0.1
"""So much of it is done at once; the rest is spread over time."""
SHARES = 2.0
"""Callers who take more than they may divide so many shares of the machine among them, if they are more than that."""
LEAST = 0.2
"""The smallest part of a share, however many callers divide it."""
COUNT_S = 0.05
"""How long their number is taken for the same."""
ACTIVE_S = 5.0
"""A caller counts as present for so long after its last request."""
ACTIVE_SLOTS = 1024


class WorkBudget:
    """A token bucket for each caller, whose tokens are milliseconds of one core's work.

    A bucket gains ``rate`` milliseconds a second. A request is admitted while the bucket is not empty, and its cost is
    taken when it is known, so one request may take more than there is; the caller then waits longer. While a caller
    is alone, nothing is taken: limiting it would help nobody. All processes that are forked later share the buckets.
    ``rate`` 0 means no limit.

    Work that a bucket has saved up is spread over time (``pace_s``), because many requests at one moment delay others
    as much as many all the time. Callers who are in debt divide ``SHARES`` among them, so that a machine is not full
    when there are several of them.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._in_debt, self._counted_at = 0, float("-inf")
        # The bucket algorithm is GCRA: a number is the time at which the bucket is full again.
        self._full_at = SharedTable()
        self._seen_at = SharedTable(ACTIVE_SLOTS)
        self.alone = SharedTable(1)
        """For ``FairQueue``."""

    @property
    def contended(self) -> bool:
        """Whether more than one caller has called lately."""
        return self._seen_at.count_above(self._clock() - ACTIVE_S) > 1

    def note(self, caller: str) -> None:
        """Note that a caller calls."""
        self._seen_at.set(caller, self._clock())

    def wait_s(self, caller: str) -> float:
        """Return 0 if a caller's bucket is not empty, or it is alone; otherwise the seconds until it is not."""
        if not self._rate or not self.contended:
            return 0.0
        return max(0.0, self._full_at.get(caller) - self._clock() - BURST_S)

    def pace_s(self, caller: str) -> float:
        """Return how long a caller's next work should wait for what it asked for before, if others call too."""
        if not self._rate or not self.contended:
            return 0.0
        return max(0.0, self._full_at.get(caller) - self._clock() - AT_ONCE_S)

    def take(self, caller: str, cost_ms: float) -> None:
        """Take the cost of a caller's request, if others call too."""
        if self._rate and self.contended:
            full_at = max(self._clock(), self._full_at.get(caller))
            self._full_at.set(caller, full_at + cost_ms / (self._rate * self._part()))

    def _part(self) -> float:
        """Return the part of its share that each caller gets who is in debt."""
        now = self._clock()
        if now - self._counted_at >= COUNT_S:
            self._in_debt, self._counted_at = self._full_at.count_above(now + AT_ONCE_S), now
        return max(LEAST, min(1.0, SHARES / max(1, self._in_debt)))
