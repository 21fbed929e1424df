"""Dead letters, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from visualsearch.ports import DeadLetterArchive

if TYPE_CHECKING:
    from visualsearch.adapters.postgres.database import Database
    from visualsearch.domain.indexing import DeadLetter


class PostgresDeadLetterArchive(DeadLetterArchive):
    """Shares the connections of ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def dead_letter(self, letter: DeadLetter) -> None:
        event = letter.event
        await self._database.rows(
            """INSERT INTO dead_letters (entry_id, kind, uri, image_id, reason, deliveries, died_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (entry_id) DO NOTHING""",
            *(letter.entry_id, event.kind, event.uri, event.image_id, letter.reason, letter.deliveries, letter.died_at),
        )
