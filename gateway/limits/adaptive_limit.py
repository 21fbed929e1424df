"""A limit of concurrent work that adapts to how fast the servers behind it are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 0.1
"""CoDel's interval: a burst that is processed within it does not count as a persistent queue."""
BACK_OFF = 0.9


@dataclass(slots=True)
class AdaptiveLimit:
    """A limit between ``least`` and ``most`` that keeps the time of work within a target.

    The signal is CoDel's (Nichols and Jacobson, Controlling Delay Active Queue Management, RFC 8289): if even the
    fastest answer of a window took longer than the target, there is a queue that does not drain. The limit then falls
    by a tenth. It grows by one after a window in which it was reached and the fastest answer was in time. The limit
    thus adapts to the speed of the servers, and follows when they get slower.
    """

    limit: float
    least: float
    most: float
    clock: Callable[[], float] = time.monotonic
    _begin: float = 0.0
    _quickest: float = float("inf")
    _reached: bool = False

    def __post_init__(self) -> None:
        self.least = min(self.least, self.most)
        self.limit, self._begin = min(self.limit, self.most), self.clock()

    def reached(self) -> None:
        """Remember that the limit was reached."""
        self._reached = True

    def learn(self, seconds: float, target_s: float) -> None:
        """Learn from the time that one piece of work took."""
        now = self.clock()
        self._quickest = min(self._quickest, seconds)
        if now - self._begin < WINDOW_S:
            return
        if self._quickest > target_s:
            self.limit = max(self.least, self.limit * BACK_OFF)
        elif self._reached:
            self.limit = min(self.most, self.limit + 1)
        self._begin, self._quickest, self._reached = now, float("inf"), False
