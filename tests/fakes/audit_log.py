"""The audit log in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.audit import SHORTEST_DAYS, AuditEntry

if TYPE_CHECKING:
    import uuid

    from tests.fakes.image_repository import FakeImages
    from tests.fakes.release_repository import FakeReleases


class FakeAuditLog:
    """Entries are a plain attribute. While ``image_repository`` is down, so is this: both are Postgres."""

    def __init__(self, image_repository: FakeImages, release_repository: FakeReleases) -> None:
        self._image_repository = image_repository
        self._release_repository = release_repository
        self.kept: dict[uuid.UUID, AuditEntry] = {}

    async def begin(self, entry: AuditEntry) -> None:
        await self._image_repository.check()
        self.kept[entry.id] = entry

    async def end(self, entry_id: uuid.UUID, outcome: str) -> None:
        await self._image_repository.check()
        self.kept[entry_id] = replace(self.kept[entry_id], outcome=outcome)

    async def entries(
        self, *, since: datetime | None = None, actor: str = "", action: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        await self._image_repository.check()
        changes = [
            AuditEntry(
                at=one.at,
                actor=one.actor,
                action=f"release.{one.action}",
                subject=one.release,
                outcome=f"done: {one.reason}" if one.reason else "done",
            )
            for one in await self._release_repository.history(None, limit)
        ]
        found = [
            entry
            for entry in (*self.kept.values(), *changes)
            if (since is None or entry.at >= since)
            and actor in ("", entry.actor)
            and (action in ("", entry.action) or (action.endswith(".") and entry.action.startswith(action)))
        ]
        return sorted(found, key=lambda entry: entry.at, reverse=True)[:limit]

    async def keep(self, days: int) -> int:
        oldest = datetime.now(UTC) - timedelta(days=max(days, SHORTEST_DAYS))
        old = [entry for entry in self.kept.values() if entry.at < oldest]
        for entry in old:
            del self.kept[entry.id]
        return len(old)
