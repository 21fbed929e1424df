"""Sums of counters, in memory."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FakeReleaseCounters:
    """Counters by release and by series. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.down = False
        self.added: list[tuple[float, str, Counter[str]]] = []
        self.totals: dict[str, Counter[str]] = {}

    def _up(self) -> None:
        if self.down:
            raise Unavailable("Valkey")

    async def add(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        self._up()
        self.added += [(self._clock(), release, Counter(counters)) for release, counters in counted.items()]

    async def since(self, seconds: float) -> dict[str, Counter[str]]:
        self._up()
        sums: dict[str, Counter[str]] = {}
        for at, release, counters in self.added:
            if at >= self._clock() - seconds:
                sums.setdefault(release, Counter()).update(counters)
        return sums

    async def add_total(self, series: str, counters: Mapping[str, int]) -> None:
        self._up()
        self.totals.setdefault(series, Counter()).update(counters)

    async def total(self, series: str) -> Counter[str]:
        self._up()
        return self.totals.get(series, Counter())

    async def close(self) -> None:
        """Do nothing."""
