"""Rate limits of callers, across all processes of the gateway."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from visualsearch.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.adapters.valkey.request_rates import ValkeyRequestRates

CALLERS = 10_000
"""Maximum number of callers that are tracked; the least recently seen one is evicted first."""
AWAY_S = 1.0
"""How long Valkey is not asked again after it did not answer."""


class RateLimit(Protocol):
    """Limits the request rate of each caller."""

    async def take(self, who: str) -> float:
        """Count one request of a caller; return 0, or the seconds to wait if the limit is reached."""
        ...


class LocalRateLimit:
    """A token bucket per caller in this process: ``rate`` requests per second, in bursts of up to one second."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, who: str, count: int = 1) -> float:
        """Count one request of a caller, or one that stands for ``count``."""
        now, burst = self._clock(), max(1.0, self._rate)
        allowance, last = self._buckets.pop(who, (burst, now))
        allowance = min(burst, allowance + (now - last) * self._rate)
        refused = allowance < 1
        self._buckets[who] = (allowance if refused else allowance - count, now)
        if len(self._buckets) > CALLERS:
            self._buckets.popitem(last=False)
        return (1 - allowance) / self._rate if refused else 0.0


class SharedRateLimit:
    """Counts requests in Valkey. While Valkey is down, each process enforces its own part of the rate."""

    def __init__(
        self, shared: ValkeyRequestRates, own: LocalRateLimit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._own = own
        self._clock = clock
        self._away_until = 0.0

    async def take(self, who: str) -> float:
        """Count one request of a caller."""
        if self._clock() >= self._away_until:
            try:
                return await self._shared.take(who)
            except Unavailable:
                self._away_until = self._clock() + AWAY_S
        return await self._own.take(who)


def rates(rate: float, shared: ValkeyRequestRates | None, processes: int) -> RateLimit | None:
    """Return the rate limit for ``rate`` requests per second; None if ``rate`` is 0, which means no limit."""
    if not rate:
        return None
    return SharedRateLimit(shared, LocalRateLimit(rate / processes)) if shared else LocalRateLimit(rate)
