"""How many searches a process takes on at once: as many as it can answer soon, and no more."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain.errors import Overloaded, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEWEST = 4
"""So many are always taken on: fewer would leave the servers behind it without work while one is awaited."""
FIRST = 16
"""Where the limit begins: little enough for a slow machine to answer in time, and near to where it ends anyhow."""
WINDOW_S = 0.1
"""CoDel's interval: a burst that is worked off within it is no standing queue."""
BACK_OFF = 0.9


@dataclass(slots=True)
class Admission:
    """Limits searches in progress to what is answered within ``target_s``, and to ``most`` at any time.

    The signal is CoDel's (Nichols and Jacobson, Controlling Delay Active Queue Management, RFC 8289): when even the
    quickest answer of a window took longer than the target, there is a queue that does not drain. The limit then falls
    by a tenth; it grows by one after a window in which it was reached and the quickest answer was in time. So it finds
    its place without knowing how fast the servers are, and follows when they get slower.
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
        """Say whether one more would be refused."""
        return self.active >= int(self.limit)

    def refuse(self) -> Overloaded:
        """Return what to tell somebody who is not taken on, and remember that there was somebody."""
        self._reached = True
        return Overloaded("More searches are in progress than can be answered in time. Try again shortly.")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take one search on for as long as the block runs; raises ``Overloaded``."""
        if self.full:
            raise self.refuse()
        self.active += 1
        begin = self.clock()
        try:
            yield
            self._learn(begin)
        except Unavailable:  # late, or at once: either tells as much as an answer; a broken picture tells nothing
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
