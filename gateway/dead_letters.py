"""Dead letters: an administrator's are all, an owner's those of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.caller import Caller
    from visualsearch.domain.indexing import DeadLetter
    from visualsearch.ports import EventStream, ImageRepository

SEARCHED = 10_000
"""How many of the newest dead letters are searched for an owner's."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of the stream, as far as a caller may see them. Methods raise ``Unavailable``."""

    events: EventStream
    image_repository: ImageRepository

    async def newest(self, caller: Caller, limit: int) -> list[DeadLetter]:
        """Return the newest dead letters of the caller."""
        if caller.is_admin:
            return await self.events.dead_letters(limit)
        letters = await self.events.dead_letters(SEARCHED)
        images = await self.image_repository.by_uris(list({letter.event.uri for letter in letters}))
        mine = {uri for uri, image in images.items() if image.owner == caller.owner}
        return [letter for letter in letters if letter.event.uri in mine][:limit]

    async def retry(self, caller: Caller, entry_ids: Sequence[str]) -> int:
        """Put dead letters of the caller back on the stream (all if no id is given); return how many."""
        if caller.is_admin:
            return await self.events.requeue(entry_ids)
        mine = [letter.entry_id for letter in await self.newest(caller, SEARCHED)]
        chosen = [entry_id for entry_id in mine if not entry_ids or entry_id in entry_ids]
        return await self.events.requeue(chosen) if chosen else 0
