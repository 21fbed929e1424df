"""The API keys of Postgres, as one process of the gateway knows them."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.caller import Caller
from visualsearch.domain.access import digest_of, id_of
from visualsearch.domain.errors import Unavailable
from visualsearch.observability.metrics import LATER_FAILURES
from visualsearch.periodic_job import PeriodicJob
from visualsearch.refreshed import Refreshed

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.domain.access import ActiveKeys, ApiKey
    from visualsearch.ports import ApiKeyRepository

REFRESH_S = 2.0
"""Age at which the keys are refreshed in the background, while requests go on with those that are known."""
MAX_AGE_S = 4.0
"""Age from which a request waits for the refresh. A revoked key stops within this time."""
OUTAGE_S = 300.0
"""How long the known keys are valid while Postgres does not answer. After that nobody gets in."""
RETRY_S = 1.0
"""Time between refreshes while Postgres does not answer."""
USE_S = 60.0
"""The last use of a key is written at most this often."""


@dataclass(frozen=True, slots=True)
class _Held:
    active: ActiveKeys
    by_id: dict[str, ApiKey]


class StoredKeys:
    """Holds all valid keys in memory, and asks Postgres every few seconds whether they have changed.

    So guessing keys costs no query, and the memory does not depend on what callers send. While ``run`` runs, no request
    waits for Postgres, not even one that comes after a pause and finds it down. Methods raise ``Unavailable`` if
    Postgres has not answered for ``OUTAGE_S``, or not yet.
    """

    def __init__(self, repository: ApiKeyRepository, clock: Callable[[], float] = time.monotonic) -> None:
        self._repository = repository
        self._clock = clock
        self._held: Refreshed[_Held] = Refreshed(
            self._fetch, refresh_s=REFRESH_S, max_age_s=MAX_AGE_S, retry_s=RETRY_S, clock=clock
        )
        self._written_at: dict[str, float] = {}
        self._used: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until stopped."""
        await PeriodicJob(name="refreshing API keys", work=self._held.current, every_s=REFRESH_S).run(stop)

    async def any_made(self) -> bool:
        """Return whether there ever was a key."""
        return (await self._current()).active.any_made

    async def find(self, text: str) -> Caller | None:
        """Return whose key a text is; None if it is no valid key."""
        key = (await self._current()).by_id.get(id_of(text))
        if key is None or not hmac.compare_digest(key.digest, digest_of(text)):
            return None
        if key.state(datetime.now(UTC)) != "active":
            return None
        self._record_use(key.id)
        return Caller(key.owner, key.scopes, key_id=key.id)

    async def close(self) -> None:
        """Finish writing when keys were used."""
        await self._held.close()
        if self._writing is not None:
            await self._writing

    async def _current(self) -> _Held:
        held = await self._held.current()
        if held is None or self._held.age_s >= OUTAGE_S:
            raise Unavailable("Postgres", "API keys cannot be checked")
        return held

    async def _fetch(self, known: _Held | None) -> _Held:
        found = await self._repository.active(known.active.version if known else None)
        if found is None:
            assert known is not None
            return known
        held = _Held(found, {key.id: key for key in found.keys})
        self._written_at = {one: at for one, at in self._written_at.items() if one in held.by_id}
        return held

    def _record_use(self, key_id: str) -> None:
        now = self._clock()
        if now - self._written_at.get(key_id, float("-inf")) < USE_S:
            return
        self._written_at[key_id] = now
        self._used.add(key_id)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_uses())

    async def _write_uses(self) -> None:
        while self._used:
            used, self._used = self._used, set()
            try:
                await self._repository.mark_used(used)
            except Unavailable:
                LATER_FAILURES.labels("key use").inc()
