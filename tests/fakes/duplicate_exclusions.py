"""Duplicate exclusions in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.images import ImageSummary, Status, Visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fakes.image_repository import FakeImages


class FakeDuplicateExclusions:
    """Pairs are a plain attribute. The images are those of ``image_repository``; while it is down, so is this."""

    def __init__(self, image_repository: FakeImages) -> None:
        self._image_repository = image_repository
        self.pairs: dict[tuple[int, int], str] = {}

    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int], owner: str
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        asked, known = set(candidates), (await self._image_repository.by_ids(wanted)).items()
        shown = {
            i: ImageSummary(one.uri, one.width or 0, one.height or 0, self._image_repository.colours.get(i) or b"")
            for i, one in known
            if one.status is Status.INDEXED and (one.visibility is Visibility.PUBLIC or (owner and one.owner == owner))
        }
        return {pair for pair in self.pairs if asked.issuperset(pair)}, shown

    async def all_pairs(self) -> set[tuple[int, int]]:
        await self._image_repository.check()
        return set(self.pairs)

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        await self._image_repository.check()
        if self._image_repository.images.keys() >= {one, other}:
            self.pairs.setdefault((min(one, other), max(one, other)), by)

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        await self._image_repository.check()
        return self.pairs.pop((min(one, other), max(one, other)), None) is not None
