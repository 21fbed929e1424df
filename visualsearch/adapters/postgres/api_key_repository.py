"""API keys, in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from visualsearch.domain.access import ActiveKeys, ApiKey, scopes_of
from visualsearch.domain.errors import Conflict, NotFound
from visualsearch.ports import ApiKeyRepository

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from visualsearch.adapters.postgres.database import Database
    from visualsearch.domain.access import KeyText

COLUMNS = "id, owner, scopes, digest, note, created_at, expires_at, last_used_at, revoked_at"
VALID = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
CHANGES = "SELECT version, EXISTS (SELECT FROM api_keys) AS any_made FROM api_key_changes"


class PostgresApiKeys(ApiKeyRepository):
    """The repository of API keys, on the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def add(self, key: ApiKey) -> None:
        rows = await self._database.rows(
            """INSERT INTO api_keys (id, owner, scopes, digest, note, created_at, expires_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id""",
            *(key.id, key.owner, sorted(key.scopes), key.digest, key.note, key.created_at, key.expires_at),
        )
        if not rows:
            raise Conflict(f"There is a key {key.id} already: try again.")

    @override
    async def everything(self) -> list[ApiKey]:
        rows = await self._database.rows(f"SELECT {COLUMNS} FROM api_keys ORDER BY created_at DESC, id")  # noqa: S608
        return [_key(row) for row in rows]

    @override
    async def revoke(self, key_id: str) -> ApiKey:
        rows = await self._database.rows(
            f"""UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s RETURNING {COLUMNS}""",  # noqa: S608
            key_id,
        )
        if not rows:
            raise _unknown(key_id)
        return _key(rows[0])

    @override
    async def rotate(
        self, key_id: str, successor: KeyText, expires_at: datetime | None, overlap: timedelta
    ) -> tuple[ApiKey, ApiKey]:
        rows = await self._database.rows(
            f"""WITH old AS (SELECT * FROM api_keys WHERE id = %s AND {VALID} FOR UPDATE),
            ended AS (UPDATE api_keys SET expires_at = least(old.expires_at, now() + %s) FROM old
              WHERE api_keys.id = old.id RETURNING api_keys.*),
            made AS (INSERT INTO api_keys (id, owner, scopes, digest, note, expires_at)
              SELECT %s, owner, scopes, %s, note, coalesce(%s, now() + (expires_at - created_at)) FROM old
              RETURNING *)
            SELECT {COLUMNS} FROM ended UNION ALL SELECT {COLUMNS} FROM made""",  # noqa: S608
            *(key_id, overlap, successor.id, successor.digest, expires_at),
        )
        if rows:
            by_id = {row["id"]: _key(row) for row in rows}
            return by_id[key_id], by_id[successor.id]
        if not await self._database.rows("SELECT id FROM api_keys WHERE id = %s", key_id):
            raise _unknown(key_id)
        raise Conflict(f"The key {key_id} is revoked or expired: make a new one with `visualsearch keys create`.")

    @override
    async def active(self, known: int | None) -> ActiveKeys | None:
        # The version first: a change between the two statements is seen again the next time.
        (now,) = await self._database.rows(CHANGES)
        if now["version"] == known:
            return None
        rows = await self._database.rows(f"SELECT {COLUMNS} FROM api_keys WHERE {VALID}")  # noqa: S608
        return ActiveKeys(now["version"], now["any_made"], tuple(_key(row) for row in rows))

    @override
    async def mark_used(self, key_ids: Iterable[str]) -> None:
        await self._database.rows(
            """UPDATE api_keys SET last_used_at = now()
            WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')""",
            list(key_ids),
        )


def _key(row: dict[str, Any]) -> ApiKey:
    return ApiKey(**{**row, "scopes": scopes_of(row["scopes"])})


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"There is no key {key_id}: `visualsearch keys list` shows them.")
