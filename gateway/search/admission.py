"""Adaptive limit of concurrent searches in a process, so that those admitted are answered in time."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.limits.adaptive_limit import AdaptiveLimit
from visualsearch.domain.errors import Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEWEST = 4
"""Lowest limit. With fewer searches, the servers behind the gateway would sometimes be idle."""
FIRST = 16
"""Initial limit: low enough for a slow machine to answer in time, and close to where it usually settles."""


class Admission:
    """Limits concurrent searches to as many as are answered within ``target_s``, and to at most ``most``.

    Each caller's part of the limit is the same. When the limit is reached, a caller that holds less than its part is
    admitted still, so that nobody is refused because of what another holds; the limit is exceeded by as much.
    """

    def __init__(self, most: int, target_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._target_s = target_s
        self._clock = clock
        self._limit = AdaptiveLimit(FIRST, FEWEST, most, clock)
        self._held: Counter[str] = Counter()

    @property
    def limit(self) -> float:
        """How many searches are admitted now."""
        return self._limit.limit

    @property
    def active(self) -> int:
        """How many searches are in progress."""
        return self._held.total()

    def check(self, caller: str = "") -> None:
        """Raise ``Overloaded`` if another search of a caller would be refused, and remember that it was."""
        if self.active >= int(self.limit) and self._held[caller] >= self._part(caller):
            self._limit.reached()
            raise Overloaded("More searches are in progress than can be answered in time. Try again shortly.")

    def _part(self, caller: str) -> int:
        others = sum(1 for one in self._held if one != caller)
        return int(self.limit) // (others + 1)

    @contextmanager
    def slot(self, caller: str = "") -> Iterator[None]:
        """Admit one search while the block runs; raises ``Overloaded``."""
        self.check(caller)
        self._held[caller] += 1
        begin = self._clock()
        try:
            yield
            self._learn(begin)
        except Unavailable:  # counts like an answer, unlike other errors such as a broken picture
            self._learn(begin)
            raise
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    def _learn(self, begin: float) -> None:
        self._limit.learn(self._clock() - begin, self._target_s)
