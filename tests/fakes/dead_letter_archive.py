"""The dead-letter archive in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.image_repository import FakeImages
    from visualsearch.domain.indexing import DeadLetter


class FakeDeadLetterArchive:
    """Letters are a plain attribute. While ``image_repository`` is down, so is this: both are Postgres."""

    def __init__(self, image_repository: FakeImages) -> None:
        self._image_repository = image_repository
        self.letters: dict[str, DeadLetter] = {}

    async def dead_letter(self, letter: DeadLetter) -> None:
        await self._image_repository.check()
        self.letters.setdefault(letter.entry_id, letter)
