"""The release records in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.domain.release_state import ReleaseRecord, Releases, Transition
from visualsearch.domain.releases import Build, Release, ReleaseState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.image_repository import FakeImages
    from visualsearch.domain.score_calibration import ScoreCalibration


class FakeReleases:
    """Records and history are plain attributes. A transaction that raises leaves them unchanged.

    Both this and ``image_repository`` are Postgres: while it is down, every call raises ``Unavailable``.
    """

    def __init__(self, image_repository: FakeImages) -> None:
        self._image_repository = image_repository
        self.by_name: dict[str, ReleaseRecord] = {}
        self.builds_by_name: dict[str, Build] = {}
        self.transitions: list[Transition] = []
        self.clicked: dict[str, tuple[int, int]] = {}
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def switching(self) -> AsyncIterator[FakeReleases]:
        async with self._lock:
            before = dict(self.by_name), list(self.transitions)
            try:
                yield self
            except BaseException:
                self.by_name, self.transitions = before
                raise

    async def records(self) -> Releases:
        await self._image_repository.check()
        return Releases(sorted(self.by_name.values(), key=lambda record: record.since, reverse=True))

    async def add(self, release: Release, state: ReleaseState) -> None:
        await self._image_repository.check()
        if state != ReleaseState.LIVE or all(one.state != ReleaseState.LIVE for one in self.by_name.values()):
            self.by_name.setdefault(release.name, ReleaseRecord(release, state, datetime.now(UTC)))

    async def record_build(self, build: Build) -> None:
        await self._image_repository.check()
        self.builds_by_name[build.release] = build

    async def record_calibration(self, release: str, calibration: ScoreCalibration) -> None:
        await self._image_repository.check()
        if record := self.by_name.get(release):
            self.by_name[release] = replace(record, release=replace(record.release, calibration=calibration))

    async def builds(self) -> list[Build]:
        await self._image_repository.check()
        building = sorted(name for name, one in self.by_name.items() if one.state == ReleaseState.BUILDING)
        return [self.builds_by_name.get(name, Build(name, 0, 0, 0)) for name in building]

    async def switches(self) -> list[Transition]:
        return [one for one in self.transitions if one.replaced]

    async def put(self, standing: ReleaseRecord) -> None:
        others = [one for name, one in self.by_name.items() if name != standing.release.name]
        single = standing.state in {ReleaseState.LIVE, ReleaseState.CANARY}
        assert not (single and any(one.state == standing.state for one in others)), "the index allows one"
        self.by_name[standing.release.name] = standing

    async def record(self, transition: Transition) -> None:
        self.transitions.append(transition)

    async def clicks(self, seconds: float) -> dict[str, tuple[int, int]]:
        return dict(self.clicked)

    async def history(self, release: str | None, limit: int) -> list[Transition]:
        return [one for one in reversed(self.transitions) if release in {None, one.release}][:limit]
