"""A clock that tests move."""

import time


class Clock:
    """Reads as ``time.monotonic``, plus what the test has added."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        """Return seconds from a fixed moment."""
        return time.monotonic() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self._ahead_s += seconds


class StillClock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return seconds from a fixed moment."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self.now += seconds
