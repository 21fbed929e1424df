"""The API keys of Postgres, as one process of the gateway knows them."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.caller import Caller
from visualsearch.domain.access import digest_of, id_of
from visualsearch.domain.errors import Unavailable
from visualsearch.observability.metrics import LATER_FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.domain.access import ActiveKeys, ApiKey
    from visualsearch.ports import ApiKeyRepository

log = logging.getLogger(__name__)

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


class StoredKeys:
    """Holds all valid keys in memory, and asks Postgres every few seconds whether they have changed.

    So guessing keys costs no query, and the memory does not depend on what callers send. Without requests nothing is
    asked. Methods raise ``Unavailable`` if Postgres has not answered for ``OUTAGE_S``, or not yet.
    """

    def __init__(self, repository: ApiKeyRepository, clock: Callable[[], float] = time.monotonic) -> None:
        self._repository = repository
        self._clock = clock
        self._known: ActiveKeys | None = None
        self._keys: dict[str, ApiKey] = {}
        self._known_at = self._failed_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self._written_at: dict[str, float] = {}
        self._used: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    async def any_made(self) -> bool:
        """Return whether there ever was a key."""
        return (await self._current()).any_made

    async def find(self, text: str) -> Caller | None:
        """Return whose key a text is; None if it is no valid key."""
        await self._current()
        key = self._keys.get(id_of(text))
        if key is None or not hmac.compare_digest(key.digest, digest_of(text)):
            return None
        if key.state(datetime.now(UTC)) != "active":
            return None
        self._record_use(key.id)
        return Caller(key.owner, key.scopes, key_id=key.id)

    async def close(self) -> None:
        """Finish writing when keys were used."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        if self._writing is not None:
            await self._writing

    async def _current(self) -> ActiveKeys:
        now = self._clock()
        age_s = now - self._known_at
        if age_s >= REFRESH_S:
            refresh = self._refresh()
            # During an outage only some requests wait for Postgres.
            if self._known is None or (age_s >= MAX_AGE_S and now - self._failed_at >= MAX_AGE_S):
                await asyncio.shield(refresh)
        if self._known is None or self._clock() - self._known_at >= OUTAGE_S:
            raise Unavailable("Postgres", "API keys cannot be checked")
        return self._known

    def _refresh(self) -> asyncio.Task[None]:
        """Return the refresh that all requests share; begin one unless the last has just failed."""
        if self._refreshing is None or (
            self._refreshing.done() and self._clock() - max(self._failed_at, self._known_at) >= RETRY_S
        ):
            self._refreshing = asyncio.create_task(self._fetch())
        return self._refreshing

    async def _fetch(self) -> None:
        asked_at = self._clock()
        try:
            found = await self._repository.active(self._known.version if self._known else None)
        except Exception as error:  # whatever it is, nobody gets in by it
            if not isinstance(error, Unavailable):
                log.exception("API keys cannot be read")
            self._failed_at = self._clock()
            return
        if found is not None:
            self._known = found
            self._keys = {key.id: key for key in found.keys}
            self._written_at = {one: at for one, at in self._written_at.items() if one in self._keys}
        self._known_at, self._failed_at = asked_at, float("-inf")

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
