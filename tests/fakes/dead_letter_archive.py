"""The dead-letter archive in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.catalog import FakeCatalog
    from visualsearch.domain.indexing import DeadLetter


class FakeDeadLetterArchive:
    """Letters are a plain attribute. While ``catalog`` is down, so is this: both are Postgres."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self._catalog = catalog
        self.letters: dict[str, DeadLetter] = {}

    async def dead_letter(self, letter: DeadLetter) -> None:
        await self._catalog.check()
        self.letters.setdefault(letter.entry_id, letter)
