"""Indexing progress in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.image_repository import FakeImages


class FakeIndexingProgress:
    """Positions and counts are plain attributes. While ``image_repository`` is down, so is this: both are Postgres."""

    def __init__(self, image_repository: FakeImages) -> None:
        self._image_repository = image_repository
        self.positions: dict[str, int] = {}
        self.counted: dict[tuple[str, str], int] = {}

    async def position(self, log: str) -> int | None:
        await self._image_repository.check()
        return self.positions.get(log)

    async def set_position(self, log: str, at_ns: int) -> None:
        await self._image_repository.check()
        self.positions[log] = at_ns

    async def record_differences(self, counts: Mapping[tuple[str, str], int]) -> None:
        await self._image_repository.check()
        self.counted = dict(counts)

    async def differences(self) -> dict[tuple[str, str], int]:
        await self._image_repository.check()
        return dict(sorted(self.counted.items()))
