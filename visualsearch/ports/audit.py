"""Protocol of the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from visualsearch.domain.audit import AuditEntry


class AuditLog(Protocol):
    """Who did what. Entries can be added, but neither changed nor deleted before their time."""

    async def begin(self, entry: AuditEntry) -> None:
        """Record an act that is about to happen."""
        ...

    async def end(self, entry_id: uuid.UUID, outcome: str) -> None:
        """Record how an act ended."""
        ...

    async def entries(
        self, *, since: datetime | None = None, actor: str = "", action: str = "", limit: int = 100
    ) -> list[AuditEntry]:
        """Return entries, newest first, with the changes of releases among them as ``release.`` and their action.

        ``action`` is an action or, with a dot at its end, the noun that it begins with.
        """
        ...

    async def keep(self, days: int) -> int:
        """Delete entries older than that many days, at least ``SHORTEST_DAYS``; return how many rows went."""
        ...
