"""Adaptive limit of concurrent searches in a process, so that those admitted are answered in time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEWEST = 4
"""Lowest limit. With fewer searches, the servers behind the gateway would sometimes be idle."""
FIRST = 16
"""Initial limit: low enough for a slow machine to answer in time, and close to where it usually settles."""
WINDOW_S = 0.1
"""CoDel's interval: a burst that is processed within it does not count as a persistent queue."""
BACK_OFF = 0.9


@dataclass(slots=True)
class Admission:
    """Limits concurrent searches to as many as are answered within ``target_s``, and to at most ``most``.

    The signal is CoDel's (Nichols and Jacobson, Controlling Delay Active Queue Management, RFC 8289): if even the
    fastest answer of a window took longer than the target, there is a queue that does not drain. The limit then falls
    by a tenth. It grows by one after a window in which it was reached and the fastest answer was in time. The limit
    thus adapts to the speed of the servers, and follows when they get slower.
    """

    most: int
    target_s: float
    limit: float = FIRST
    active: int = 0
    clock: Callable[[], float] = time.monotonic
    _begin: float = 0.0
    _quickest: float = float("inf")
    _reached: bool = False

    def __post_init__(self) -> None:
        self.limit, self._begin = min(self.limit, self.most), self.clock()

    @property
    def full(self) -> bool:
        """Whether another search would be refused."""
        return self.active >= int(self.limit)

    def refuse(self) -> Overloaded:
        """Return the error for a refused search, and remember that the limit was reached."""
        self._reached = True
        return Overloaded("More searches are in progress than can be answered in time. Try again shortly.")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Admit one search while the block runs; raises ``Overloaded``."""
        if self.full:
            raise self.refuse()
        self.active += 1
        begin = self.clock()
        try:
            yield
            self._learn(begin)
        except Unavailable:  # counts like an answer, unlike other errors such as a broken picture
            self._learn(begin)
            raise
        finally:
            self.active -= 1

    def _learn(self, begin: float) -> None:
        now = self.clock()
        self._quickest = min(self._quickest, now - begin)
        if now - self._begin < WINDOW_S:
            return
        if self._quickest > self.target_s:
            self.limit = max(min(FEWEST, self.most), self.limit * BACK_OFF)
        elif self._reached:
            self.limit = min(self.most, self.limit + 1)
        self._begin, self._quickest, self._reached = now, float("inf"), False
