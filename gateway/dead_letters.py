"""Dead letters: an administrator's are all, an owner's those of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from gateway.caller import Caller
    from visualsearch.domain.indexing import DeadLetter
    from visualsearch.ports import EventStream, ImageRepository

SEARCHED = 10_000
"""How many of the newest dead letters are searched for an owner's, and for the given ones."""
MAX_SUBJECT = 500
"""Characters of the entries that the audit log names."""


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

    async def retry(
        self, caller: Caller, entry_ids: Sequence[str], record: Callable[[str], AbstractAsyncContextManager[None]]
    ) -> int:
        """Put dead letters of the caller back on the stream (all if no id is given); return how many.

        ``record`` records in the audit log which they are. It is not called if there are none.
        """
        chosen = await self._choose(caller, entry_ids)
        if not chosen:
            return 0
        everything = not entry_ids
        async with record("all" if everything else ", ".join(chosen)[:MAX_SUBJECT]):
            return await self.events.requeue([] if everything and caller.is_admin else chosen)

    async def _choose(self, caller: Caller, entry_ids: Sequence[str]) -> list[str]:
        """Return the ids of the caller's dead letters that are given, or of all if no id is given."""
        letters = [letter.entry_id for letter in await self.newest(caller, SEARCHED)]
        if caller.is_admin and len(letters) == SEARCHED:
            return list(entry_ids) or letters  # the given ones may be older
        given = frozenset(entry_ids)
        return [entry_id for entry_id in letters if not given or entry_id in given]
