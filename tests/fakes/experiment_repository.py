"""The definitions of experiments in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from visualsearch.domain.experiments import Experiment


class FakeExperiments:
    """Experiments by name. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self) -> None:
        self.down = False
        self.experiments: dict[str, Experiment] = {}

    def _up(self) -> None:
        if self.down:
            raise Unavailable("Postgres")

    async def create(self, experiment: Experiment) -> None:
        self._up()
        if experiment.name in self.experiments:
            raise InvalidInput(f"There is or was an experiment {experiment.name} already.")
        self.experiments[experiment.name] = experiment

    async def get(self, name: str) -> Experiment:
        self._up()
        if name not in self.experiments:
            raise NotFound(f"There is no experiment {name}: GET /experiments lists them.")
        return self.experiments[name]

    async def everything(self) -> list[Experiment]:
        self._up()
        return list(reversed(self.experiments.values()))

    async def running(self) -> list[Experiment]:
        return sorted((one for one in await self.everything() if one.state == "running"), key=lambda one: one.name)

    async def start(self, name: str, first_bucket: int, end_bucket: int) -> bool:
        mine = await self.get(name)
        taken = any(
            other.layer == mine.layer and other.first_bucket < end_bucket and other.end_bucket > first_bucket
            for other in await self.running()
        )
        if mine.state != "draft" or taken:
            return False
        at = datetime.now(UTC)
        self.experiments[name] = replace(
            mine, state="running", first_bucket=first_bucket, end_bucket=end_bucket, started_at=at
        )
        return True

    async def stop(self, name: str) -> bool:
        self._up()
        if name not in self.experiments or self.experiments[name].state != "running":
            return False
        self.experiments[name] = replace(self.experiments[name], state="stopped", stopped_at=datetime.now(UTC))
        return True
