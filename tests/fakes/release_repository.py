"""The release records in memory. The rows are those of the fake catalog."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from visualsearch.domain.release_state import ReleaseRecord, Transition
from visualsearch.domain.releases import ReleaseState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.catalog import FakeCatalog


class FakeReleases:
    """Records and history are plain attributes. A transaction that raises leaves them unchanged."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self.catalog = catalog
        self.extras: dict[str, ReleaseRecord] = {}
        self.transitions: list[Transition] = []
        self.clicked: dict[str, tuple[int, int]] = {}
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def switching(self) -> AsyncIterator[FakeReleases]:
        async with self._lock:
            before = dict(self.extras), dict(self.catalog.release_rows), list(self.transitions)
            try:
                yield self
            except BaseException:
                self.extras, self.catalog.release_rows, self.transitions = before
                raise

    async def records(self) -> list[ReleaseRecord]:
        rows = await self.catalog.releases()
        return [
            self.extras[release.name]
            if release.name in self.extras and self.extras[release.name].state == state
            else ReleaseRecord(release, ReleaseState(state), since)
            for release, state, since in rows
        ]

    async def switches(self) -> list[Transition]:
        return [one for one in self.transitions if one.replaced]

    async def put(self, standing: ReleaseRecord) -> None:
        others = [row for name, row in self.catalog.release_rows.items() if name != standing.release.name]
        single = standing.state in {ReleaseState.LIVE, ReleaseState.CANARY}
        assert not (single and any(state == standing.state for _, state, _ in others)), "the index allows one"
        self.extras[standing.release.name] = standing
        self.catalog.release_rows[standing.release.name] = (standing.release, standing.state, standing.since)

    async def record(self, transition: Transition) -> None:
        self.transitions.append(transition)

    async def clicks(self, seconds: float) -> dict[str, tuple[int, int]]:
        return dict(self.clicked)

    async def history(self, release: str | None, limit: int) -> list[Transition]:
        return [one for one in reversed(self.transitions) if release in {None, one.release}][:limit]
