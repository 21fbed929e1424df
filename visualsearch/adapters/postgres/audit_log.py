"""The audit log, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.domain.audit import SHORTEST_DAYS, AuditEntry
from visualsearch.ports import AuditLog

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from visualsearch.adapters.postgres.database import Database

# A change of a release is recorded in the transaction that makes it, so it is done. Its id is made of its number.
ENTRIES = """
SELECT * FROM (
  SELECT begun.id, begun.at, begun.actor, begun.action, begun.subject, begun.request_id,
    coalesce(ended.outcome, '') AS outcome
  FROM audit_log begun LEFT JOIN audit_log ended ON ended.id = begun.id AND ended.outcome IS NOT NULL
  WHERE begun.outcome IS NULL
  UNION ALL
  SELECT lpad(to_hex(id), 32, '0')::uuid, at, actor, 'release.' || action, release, '',
    'done' || CASE reason WHEN '' THEN '' ELSE ': ' || reason END
  FROM release_history
) AS entries
WHERE at >= coalesce(%s::timestamptz, '-infinity') AND (%s = '' OR actor = %s)
  AND (%s = '' OR action = %s OR action ^@ %s)
ORDER BY at DESC LIMIT %s
"""


class PostgresAuditLog(AuditLog):
    """Shares the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def begin(self, entry: AuditEntry) -> None:
        await self._database.rows(
            "INSERT INTO audit_log (id, at, actor, action, subject, request_id) VALUES (%s, %s, %s, %s, %s, %s)",
            *(entry.id, entry.at, entry.actor, entry.action, entry.subject, entry.request_id),
        )

    @override
    async def end(self, entry_id: uuid.UUID, outcome: str) -> None:
        await self._database.rows("INSERT INTO audit_log (id, outcome) VALUES (%s, %s)", entry_id, outcome)

    @override
    async def entries(
        self, *, since: datetime | None = None, actor: str = "", action: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        noun = action if action.endswith(".") else f"{action} "  # no action has a space
        rows = await self._database.rows(ENTRIES, since, actor, actor, action, action, noun, limit)
        return [AuditEntry(**row) for row in rows]

    @override
    async def keep(self, days: int) -> int:
        deleted = await self._database.rows(
            "DELETE FROM audit_log WHERE at < now() - make_interval(days => %s) RETURNING number",
            max(days, SHORTEST_DAYS),
        )
        return len(deleted)
