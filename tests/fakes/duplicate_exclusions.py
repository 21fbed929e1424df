"""Duplicate exclusions in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.images import ImageSummary, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fakes.catalog import FakeCatalog


class FakeDuplicateExclusions:
    """Pairs are a plain attribute. The images are those of ``catalog``; while it is down, so is this."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self._catalog = catalog
        self.pairs: dict[tuple[int, int], str] = {}

    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int]
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        asked, known = set(candidates), (await self._catalog.by_ids(wanted)).items()
        shown = {
            i: ImageSummary(one.uri, one.width or 0, one.height or 0)
            for i, one in known
            if one.status is Status.INDEXED
        }
        return {pair for pair in self.pairs if asked.issuperset(pair)}, shown

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        await self._catalog.check()
        if self._catalog.images.keys() >= {one, other}:
            self.pairs.setdefault((min(one, other), max(one, other)), by)

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        await self._catalog.check()
        return self.pairs.pop((min(one, other), max(one, other)), None) is not None
