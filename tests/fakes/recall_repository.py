"""The recall samples in memory, next to a fake image repository."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from visualsearch.domain.errors import NotFound
from visualsearch.domain.recall import Recall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.release_repository import FakeReleases


class FakeRecallSamples:
    """Samples are plain tuples (time, release, recall). Unavailable while the image repository is ``down``."""

    def __init__(self, releases: FakeReleases) -> None:
        self._releases = releases
        self.samples: list[tuple[float, str, Recall]] = []

    async def record(self, release: str, recall: Recall) -> None:
        await self._releases.records()
        self.samples.append((time.monotonic(), release, recall))

    async def since(self, seconds: float) -> dict[str, Recall]:
        await self._releases.records()
        sums: dict[str, Recall] = {}
        for at, release, recall in self.samples:
            if at > time.monotonic() - seconds:
                sums[release] = sums.get(release, Recall()) + recall
        return sums

    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        records = self._releases.by_name
        if release not in records:
            raise NotFound(f"There is no release {release!r}.")
        record = records[release]
        records[release] = replace(record, release=replace(record.release, search_params=dict(search_params)))
