"""API keys in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.access import ActiveKeys, ApiKey
from visualsearch.domain.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from visualsearch.domain.access import KeyText


class FakeApiKeys:
    """Keys by id. While ``down`` is set, calls raise ``Unavailable``. ``asked`` counts the calls of ``active``."""

    def __init__(self) -> None:
        self.down = False
        self.asked = 0
        self.keys: dict[str, ApiKey] = {}
        self._version = 0

    def _up(self) -> None:
        if self.down:
            raise Unavailable("Postgres")

    def _put(self, key: ApiKey) -> ApiKey:
        self.keys[key.id] = key
        self._version += 1
        return key

    def _get(self, key_id: str) -> ApiKey:
        self._up()
        if key_id not in self.keys:
            raise NotFound(f"There is no key {key_id}.")
        return self.keys[key_id]

    async def add(self, key: ApiKey) -> None:
        self._up()
        if key.id in self.keys:
            raise Conflict(f"There is a key {key.id} already.")
        self._put(key)

    async def everything(self) -> list[ApiKey]:
        self._up()
        return sorted(self.keys.values(), key=lambda key: key.created_at, reverse=True)

    async def revoke(self, key_id: str) -> ApiKey:
        key = self._get(key_id)
        return self._put(replace(key, revoked_at=key.revoked_at or datetime.now(UTC)))

    async def rotate(
        self, key_id: str, successor: KeyText, expires_at: datetime | None, overlap: timedelta
    ) -> tuple[ApiKey, ApiKey]:
        old, now = self._get(key_id), datetime.now(UTC)
        if old.state(now) != "active":
            raise Conflict(f"The key {key_id} is revoked or expired.")
        expires_at = expires_at or (old.expires_at and now + (old.expires_at - old.created_at))
        new = replace(old, id=successor.id, digest=successor.digest, created_at=now, expires_at=expires_at)
        ended = replace(old, expires_at=min(old.expires_at or now + overlap, now + overlap))
        return self._put(ended), self._put(replace(new, last_used_at=None))

    async def active(self, known: int | None) -> ActiveKeys | None:
        self.asked += 1
        self._up()
        if known == self._version:
            return None
        now = datetime.now(UTC)
        valid = tuple(key for key in self.keys.values() if key.state(now) == "active")
        return ActiveKeys(self._version, bool(self.keys), valid)

    async def mark_used(self, key_ids: Iterable[str]) -> None:
        self._up()
        now = datetime.now(UTC)
        for key_id in set(key_ids) & self.keys.keys():
            key = self.keys[key_id]
            if key.last_used_at is None or key.last_used_at < now - timedelta(minutes=1):
                self.keys[key_id] = replace(key, last_used_at=now)
