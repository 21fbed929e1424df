"""How a loop waits, and how long after failures. Single calls are retried by stamina."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

FACTOR = 2.0
JITTER = 0.5
"""A pause varies by this share of itself, so that processes which failed together do not retry together."""


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Wait that long, or until ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


@dataclass(slots=True)
class Backoff:
    """Pauses of a loop that goes on while a server is down. Each is twice as long as the one before."""

    first_s: float
    longest_s: float
    _next_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._next_s = self.first_s

    async def pause(self, stop: asyncio.Event) -> None:
        """Wait after a failure, or until ``stop`` is set."""
        await wait_for_stop(stop, self.seconds())

    def seconds(self) -> float:
        """Return the length of the next pause, for a loop that waits itself."""
        pause, self._next_s = self._next_s, min(self._next_s * FACTOR, self.longest_s)
        return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
