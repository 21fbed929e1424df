"""Numbers by caller that all processes of a gateway share, in memory that they inherit from their parent."""

from __future__ import annotations

import mmap

import numpy as np

SLOTS = 65_536
"""Half a megabyte. Of 100 callers at once, one in seven hundred shares its number with another."""


class SharedTable:
    """A number for each caller, 0 at first. Processes that are forked after it was made share it.

    Reading and writing takes no lock. If two processes change a number at the same moment, one change is lost, which
    costs a caller's budget at most one request.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._numbers = np.frombuffer(mmap.mmap(-1, slots * 8), np.float64)

    # Python's hashes of texts are salted by process, and forked processes keep the salt. Nobody can choose a name that
    # shares a number with another caller's.
    def get(self, caller: str) -> float:
        """Return the number of a caller."""
        return float(self._numbers[hash(caller) % len(self._numbers)])

    def set(self, caller: str, number: float) -> None:
        """Set the number of a caller."""
        self._numbers[hash(caller) % len(self._numbers)] = number

    def count_above(self, number: float) -> int:
        """Return how many numbers are above this one."""
        return int(np.count_nonzero(self._numbers > number))
