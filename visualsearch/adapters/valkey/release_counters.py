"""Counters by release of all gateway processes, summed over short periods, in Valkey or Redis."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.adapters.valkey.valkey_client import ValkeyClient
from visualsearch.ports import ReleaseCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from visualsearch.tls import ClientTLS

SLOT_S = 5
"""Seconds whose counts share a key."""
KEPT_S = 3900
"""Expiry of the counts: a little over the longest period that is queried."""
TOTAL_S = 30 * 86400
PREFIX = "visualsearch:counts:"
BETWEEN = "|"


class ValkeyReleaseCounters(ValkeyClient, ReleaseCounters):
    """Sums counters by release. Every call ends within ``timeout_s`` seconds or raises ``Unavailable``."""

    def __init__(
        self,
        url: str,
        password: str,
        timeout_s: float,
        tls: ClientTLS | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(url, password, timeout_s, tls)
        self._clock = clock

    @override
    async def add(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        key = f"{PREFIX}{int(self._clock()) // SLOT_S}"
        async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
            for release, counters in counted.items():
                for name, number in counters.items():
                    pipe.hincrby(key, f"{release}{BETWEEN}{name}", number)
            pipe.expire(key, KEPT_S)
            await pipe.execute()

    @override
    async def since(self, seconds: float) -> dict[str, Counter[str]]:
        """Return the sums of the slots that began in the last ``seconds``, by release; at most an hour.

        Excludes a slot that began earlier, so that a canary is not charged with counts from before its start.
        """
        now = self._clock()
        slots = range(math.ceil((now - min(seconds, 3600)) / SLOT_S), int(now) // SLOT_S + 1)
        async with self._deadline(), self._redis.pipeline(transaction=False) as pipe:
            for slot in slots:
                pipe.hgetall(f"{PREFIX}{slot}")
            pages = await pipe.execute()
        sums: dict[str, Counter[str]] = {}
        for page in pages:
            for field, number in page.items():
                release, _, name = field.rpartition(BETWEEN)
                sums.setdefault(release, Counter())[name] += int(number)
        return sums

    @override
    async def add_total(self, series: str, counters: Mapping[str, int]) -> None:
        """Add to sums that expire a month after the last addition."""
        key = f"{PREFIX}total:{series}"
        async with self._deadline(), self._redis.pipeline(transaction=True) as pipe:
            for name, number in counters.items():
                pipe.hincrby(key, name, number)
            pipe.expire(key, TOTAL_S)
            await pipe.execute()

    @override
    async def total(self, series: str) -> Counter[str]:
        async with self._deadline():
            found = await self._redis.hgetall(f"{PREFIX}total:{series}")
        return Counter({name: int(number) for name, number in found.items()})
