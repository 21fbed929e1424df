"""A value that lives elsewhere and is held here, fetched anew every now and then by those who ask for it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from visualsearch.domain.errors import VisualSearchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

T = TypeVar("T")
NEVER = float("-inf")


class Refreshed(Generic[T]):
    """Holds what ``fetch`` returned last; ``fetch`` gets that too. Nothing is fetched while nobody asks.

    From the age ``refresh_s`` on it is fetched in the background, from ``max_age_s`` on callers wait for that. At most
    one fetch runs at a time, and one begins every ``retry_s``. After a failure the old value is kept, and callers do
    not wait again for ``max_age_s``.
    """

    def __init__(
        self,
        fetch: Callable[[T | None], Awaitable[T]],
        *,
        refresh_s: float,
        max_age_s: float,
        retry_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.value: T | None = None
        self.failure: Exception | None = None
        self._fetch = fetch
        self._refresh_s, self._max_age_s, self._retry_s = refresh_s, max_age_s, retry_s
        self._clock = clock
        self._fetched_at = self._tried_at = self._failed_at = NEVER
        self._fetching: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        """How long ago the value was true for certain; infinite if there is none yet."""
        return self._clock() - self._fetched_at

    @property
    def busy(self) -> bool:
        """Whether it is being fetched."""
        return self._fetching is not None and not self._fetching.done()

    async def current(self) -> T | None:
        """Return the value, or None if it could not be fetched yet."""
        age_s = self.age_s
        if age_s >= self._refresh_s:
            fetching = self._begin()
            failed_lately = self._clock() - self._failed_at < self._max_age_s
            if self.value is None or (age_s >= self._max_age_s and not failed_lately):
                await asyncio.shield(fetching)
        return self.value

    async def refetch(self) -> None:
        """Wait until the value is fetched anew, unless that was tried within the last ``retry_s``."""
        await asyncio.shield(self._begin())

    async def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None or (not self.busy and self._clock() - self._tried_at >= self._retry_s):
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._try(self._tried_at))
        return self._fetching

    async def _try(self, begin: float) -> None:
        try:
            self.value = await self._fetch(self.value)
        except Exception as error:
            if self.failure is None:
                expected = isinstance(error, VisualSearchError)
                log.warning("Going on with what is known: %s", error, exc_info=None if expected else error)
            self.failure, self._failed_at = error, self._clock()
        else:
            self._fetched_at, self._failed_at, self.failure = begin, NEVER, None
