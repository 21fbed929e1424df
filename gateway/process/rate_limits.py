"""How often a caller may ask, over all processes of the gateway."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from visualsearch.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.adapters.valkey.request_rates import ValkeyRequestRates

CALLERS = 10_000
"""So many callers' rates are remembered; the one that has been away longest is forgotten first."""
AWAY_S = 1.0
"""So long a Valkey that did not answer is not asked again."""


class RateLimit(Protocol):
    """Allowances of callers."""

    async def take(self, who: str) -> float:
        """Take one request out of an allowance; return 0, or the seconds to wait where there is none left."""
        ...


class LocalRateLimit:
    """Lets each caller make ``rate`` requests a second, in bursts of up to a second's worth, as this process sees."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, who: str) -> float:
        """Take one request out of an allowance."""
        now, burst = self._clock(), max(1.0, self._rate)
        allowance, last = self._buckets.pop(who, (burst, now))
        allowance = min(burst, allowance + (now - last) * self._rate)
        refused = allowance < 1
        self._buckets[who] = (allowance if refused else allowance - 1, now)
        if len(self._buckets) > CALLERS:
            self._buckets.popitem(last=False)
        return (1 - allowance) / self._rate if refused else 0.0


class SharedRateLimit:
    """Asks Valkey; while that is away, each process lets its own part of the rate through."""

    def __init__(
        self, shared: ValkeyRequestRates, own: LocalRateLimit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._own = own
        self._clock = clock
        self._away_until = 0.0

    async def take(self, who: str) -> float:
        """Take one request out of an allowance."""
        if self._clock() >= self._away_until:
            try:
                return await self._shared.take(who)
            except Unavailable:
                self._away_until = self._clock() + AWAY_S
        return await self._own.take(who)


def rates(rate: float, shared: ValkeyRequestRates | None, processes: int) -> RateLimit | None:
    """Return what counts requests, or None for no limit."""
    if not rate:
        return None
    return SharedRateLimit(shared, LocalRateLimit(rate / processes)) if shared else LocalRateLimit(rate)
